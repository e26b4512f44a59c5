"""`faces.json`: the photos of an alignment run and the faces in each; and the journal it grows from.

`NAME.json` is a JSON object with one photo per line: `photos` are entries as `is_entry` wants them. The
journal has the same entries, one line per photo as photos are done, after a line that describes the run.
Crops lie in the folder `NAME`, and `NAME.txt` is their file list, in the order of the entries.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

from pipeline.files.atomic import own_path, part_path, refuse_other_than_folder, remove_folder, whole_file
from pipeline.files.json_object import read_json
from pipeline.files.text import read_text

FACES_FORMAT = 1
CROP_NAME = re.compile(r".*-[0-9a-f]{12}-[0-9]+\.(jpg|png)")
COMMAND = "sh run_align.sh PHOTOS"

Entry = dict[str, Any]


@dataclass(frozen=True)
class PhotoFace:
    """Where a crop comes from: its photo, and the box (left, top, right, bottom) in the photo as displayed,
    whose width and height are `size`; in pixels."""

    photo: Path
    size: tuple[int, int]
    box: tuple[float, float, float, float]


def beside(folder: Path, ending: str) -> Path:
    """A file that belongs to the folder of crops: its list, `.txt`, or `.json`."""
    return folder.with_name(folder.name + ending)


def journal_path(folder: Path) -> Path:
    """The journal of a run that writes this folder of crops."""
    return own_path(beside(folder, ".json"), "journal")


def crop_names(entries: list[Entry]) -> list[str]:
    """The crops of all photos, in the order of the file list."""
    return [face["crop"] for entry in entries for face in entry.get("faces", [])]


def write_faces(folder: Path, head: dict[str, Any], entries: list[Entry]) -> None:
    """Write the run's own fields and the entries, one photo per line, and then the list of the crops."""
    first = json.dumps({"format": FACES_FORMAT} | head, indent=1)
    lines = ",\n".join(map(json.dumps, entries))  # in ASCII: bytes of a path that are no text as well
    with whole_file(beside(folder, ".json")) as part:
        part.write_text(f'{first[:-2]},\n "photos": [\n{lines}\n ]\n}}\n', encoding="ascii")
    with whole_file(beside(folder, ".txt")) as part:
        part.write_text("".join(f"{name}\n" for name in crop_names(entries)), encoding="utf-8")


def read_faces(path: Path) -> dict[str, Any]:
    """Read a `faces.json`; raises `InputError` where it is damaged or something else."""
    value = read_json(path, COMMAND)
    photos = value.get("photos")
    if value.get("format") != FACES_FORMAT or not isinstance(photos, list) or not all(map(is_entry, photos)):
        raise InputError(
            f"{path}: is not of `{COMMAND}`, or of another version: remove it or choose another --output"
        )
    return value


def is_finished(folder: Path, finished: list[Entry], entries: list[Entry]) -> bool:
    """Whether the entries are those of a finished run, and its list and crops are there."""
    names = crop_names(entries)
    filelist = beside(folder, ".txt")
    return (
        finished == entries
        and filelist.is_file()
        and filelist.read_text("utf-8").splitlines() == names
        and {f"{folder.name}/{path.name}" for path in folder.iterdir()} == set(names)
    )


def faces_of_crops(filelist: Path) -> dict[str, PhotoFace]:
    """Where the crops of a file list come from, by their names in the list; empty where nothing says so."""
    path = filelist.with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        entries = read_faces(path)["photos"]
    except InputError:  # some other file of that name
        return {}
    return {
        face["crop"]: PhotoFace(path.parent / entry["photo"], tuple(entry["size"]), tuple(face["box"]))
        for entry in entries
        for face in entry.get("faces", [])
    }


def is_entry(value: Any) -> bool:
    """Whether this is a valid entry of a photo: its path, and its size and faces or the reason for none."""
    if not isinstance(value, dict) or not isinstance(value.get("photo"), str):
        return False
    if "faces" not in value:
        return isinstance(value.get("reason"), str)
    faces = value["faces"]
    return (
        isinstance(value.get("sha256"), str)
        and _are_numbers(value.get("size"), 2)
        and isinstance(faces, list)
        and all(
            isinstance(face, dict)
            and isinstance(face.get("crop"), str)
            and isinstance(face.get("sha256"), str)
            and _are_numbers(face.get("box"), 4)
            for face in faces
        )
    )


def _are_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(part, int | float) for part in value)
    )


def read_journal(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """The run that a journal is of, and its entries up to the first incomplete line."""
    if not path.is_file():
        return {}, []
    values: list[Any] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # the last line was cut short by the kill
            break
        if not (is_entry(value) if values else isinstance(value, dict)):
            break
        values.append(value)
    return (values[0], values[1:]) if values else ({}, [])


@contextmanager
def open_journal(
    folder: Path, run: dict[str, Any], known: Iterable[Entry]
) -> Iterator[Callable[[Entry], None]]:
    """Begin the journal of a run with the entries known so far; yields a function that adds an entry.

    It stays, with the crops at `part_path(folder)`, for a run to go on with.
    """
    with whole_file(journal_path(folder)) as part:
        part.write_text("".join(json.dumps(value) + "\n" for value in (run, *known)), encoding="ascii")
    part_path(folder).mkdir(exist_ok=True)
    with open(journal_path(folder), "a", encoding="ascii") as lines:

        def add(entry: Entry) -> None:
            lines.write(json.dumps(entry) + "\n")
            lines.flush()

        yield add


def drop_journal(folder: Path) -> None:
    """Remove the journal of a stopped or a finished run."""
    journal_path(folder).unlink(missing_ok=True)
    remove_folder(part_path(folder))


def refuse_others(folder: Path) -> None:
    """Raise `InputError` where a folder, a file list or a JSON file is there that is not of this stage."""
    refuse_other_than_folder(folder)
    for path in folder.iterdir() if folder.exists() else ():
        if not CROP_NAME.fullmatch(path.name):
            raise InputError(f"{folder}: holds {path.name}, which is no crop: choose another --output")
    filelist = beside(folder, ".txt")
    if filelist.exists():
        for name in read_text(filelist).splitlines():
            if not (name.startswith(f"{folder.name}/") and CROP_NAME.fullmatch(name)):
                raise InputError(f"{filelist}: is a file list of yours: move it or choose another --output")
    if beside(folder, ".json").exists():
        read_faces(beside(folder, ".json"))


def refuse_nothing_found(given: list[Path], entries: list[Entry]) -> None:
    """No face in any photo is an error."""
    if not crop_names(entries):
        first = next(entry for entry in entries if "reason" in entry)
        raise InputError(
            f"{given[0]}: no face was found in {len(entries)} photos; the first is {first['photo']}: "
            f"{first['reason']}: give other photos, or a lower --min-face or --min-score"
        )
