"""`.run_export.jsonl`: what exports wrote into their folder, so that all else in it is known to be a user's.

A JSON object a line, the first with the format, the others an entry for each file: its `path` below the
folder; of a link where it leads (`link`); of others `size`, time of change (`modified`, in ns), `sha256` and,
of a copy, its `source`. An entry is there before its file is, so that an export that was stopped goes on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InputError
from common.inputs import is_there
from common.progress import track

from pipeline.files.atomic import (
    digest_file,
    flush_to_disk,
    part_path,
    refuse_irregular,
    refuse_other_than_folder,
    refuse_others_in_folder,
    whole_file,
)
from pipeline.files.json_object import is_count, is_text, optional

JOURNAL = ".run_export.jsonl"
HEAD = {"format": 1, "written_by": "run_export.sh"}


class Link(NamedTuple):
    """A symbolic link to an image."""

    target: Path


class Copy(NamedTuple):
    """A copy of an image, with its time of change."""

    source: Path


Content = Link | Copy | Callable[[], bytes]
Entry = dict[str, Any]


def update_folder(output: Path, wanted: Mapping[str, Content]) -> list[Path]:
    """Make the files of `wanted`, by their paths below `output`, and remove others of earlier runs.

    Nothing is removed or replaced that no run wrote, or that is not as it was written; nor is a copy whose
    source is gone. Returns the paths of what was kept for that, sorted. Raises `InputError` where a
    folder is there that no run has written into, or something else where one must be.
    """
    refuse_other_than_folder(output)
    journal = output / JOURNAL
    entries = read_written(journal)
    if not entries and not is_there(journal):
        refuse_others_in_folder(output, (part_path(journal).name,))  # left by a run that was killed
    for folder in {parent for path in wanted for parent in folders_of(output, path)}:
        refuse_other_than_folder(folder)
    output.mkdir(parents=True, exist_ok=True)
    standing: dict[str, Entry] = {}
    with open_written(journal, entries) as add:
        for path, known in entries.items():
            entry = next((one for one in known if is_as_written(output, path, one)), None)
            if entry and path in wanted and is_wanted(entry, wanted[path]):
                standing[path] = entry
            elif entry and not is_last_copy(entry):
                remove_file(output, path)
        for path, content in track(wanted.items(), "exporting", "files"):
            if not is_there(output / path):
                standing[path] = write_entry(output, path, content, add)
    last = {
        path: entry
        for path, known in entries.items()
        for entry in known
        if path not in standing and is_as_written(output, path, entry)
    }
    write_written(journal, {path: [entry] for path, entry in (last | standing).items()})
    ours = {output / path for path in (*standing, JOURNAL)}
    return sorted(set(files_in(output)) - ours)


def write_entry(output: Path, path: str, content: Content, add: Callable[[Entry], None]) -> Entry:
    """Write a file that is not there, whole or not at all, once its entry is added."""
    place, part = output / path, part_path(output / JOURNAL)
    place.parent.mkdir(parents=True, exist_ok=True)
    entry: Entry = {"path": path}
    if isinstance(content, Link):
        entry["link"] = str(content.target)
        add(entry)
        place.symlink_to(content.target)
        return entry
    try:
        if isinstance(content, Copy):
            shutil.copyfile(content.source, part)
            times = content.source.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            part.write_bytes(content())
        flush_to_disk(part)
        found = part.stat()
        entry |= {"size": found.st_size, "modified": found.st_mtime_ns, "sha256": digest_file(part)}
        if isinstance(content, Copy):
            entry["source"] = str(content.source)
        add(entry)
        part.rename(place)
    finally:
        part.unlink(missing_ok=True)
    return entry


def is_as_written(output: Path, path: str, entry: Entry) -> bool:
    """Whether the file of an entry is there, as it was written; folders on its way that are links lead
    to something else."""
    place = output / path
    if not is_there(place) or any(folder.is_symlink() for folder in folders_of(output, path)):
        return False
    if place.is_symlink():
        return entry.get("link") == os.readlink(place)  # noqa: PTH115  (as text, as it was written)
    found = place.stat()
    if not place.is_file() or found.st_size != entry.get("size"):
        return False
    # Some file systems keep times to two seconds.
    return bool(found.st_mtime_ns == entry["modified"] or digest_file(place) == entry["sha256"])


def is_wanted(entry: Entry, content: Content) -> bool:
    """Whether the file of an entry is what would be written now."""
    if isinstance(content, Link):
        return entry.get("link") == str(content.target)
    if isinstance(content, Copy):
        found = content.source.stat()
        return (entry.get("source"), entry.get("size")) == (str(content.source), found.st_size) and (
            entry["modified"] == found.st_mtime_ns or entry["sha256"] == digest_file(content.source)
        )
    return entry.get("sha256") == hashlib.sha256(content()).hexdigest()


def is_last_copy(entry: Entry) -> bool:
    """Whether it is a copy of an image that is not there any more."""
    return "source" in entry and not os.path.isfile(entry["source"])  # noqa: PTH113


def remove_file(output: Path, path: str) -> None:
    """Remove a file, and the folders on its way that are empty then."""
    (output / path).unlink()
    for folder in folders_of(output, path):
        try:
            folder.rmdir()
        except OSError:
            return


def folders_of(output: Path, path: str) -> list[Path]:
    """The folders below `output` on the way to a path, the last one first."""
    return [output / parent for parent in Path(path).parents[:-1]]


def files_in(folder: Path) -> Iterator[Path]:
    """All in a folder that is no folder, and folders with nothing in them; links are not followed."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in (*names, *links))
        if not names and not folders:
            yield Path(place)


def read_written(journal: Path) -> dict[str, list[Entry]]:
    """The entries of a journal by path, up to the first line that is not whole; none where there is none.

    Raises `InputError` where it is something else.
    """
    refuse_irregular(journal)
    if not is_there(journal):
        return {}
    entries: dict[str, list[Entry]] = {}
    for number, line in enumerate(journal.read_bytes().split(b"\n")):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not number and value != HEAD:
            raise InputError(
                f"{journal}: is damaged, so nobody knows what in {journal.parent} was exported: "
                "choose another --output"
            )
        if number and not is_entry(value):
            break
        if number:
            entries.setdefault(value["path"], []).append(value)
    return entries


def is_entry(value: Any) -> bool:
    """Whether it tells of a file below the folder."""
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        return False
    path = Path(value["path"])
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in value["path"]:
        return False
    return is_text(value.get("link")) or (
        is_count(value.get("size"))
        and type(value.get("modified")) is int
        and is_text(value.get("sha256"))
        and optional(is_text)(value.get("source"))
    )


def write_written(journal: Path, entries: dict[str, list[Entry]]) -> None:
    """Write a journal with these entries."""
    lines = [HEAD, *(entry for known in entries.values() for entry in known)]
    with whole_file(journal) as part:
        part.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="ascii")


@contextmanager
def open_written(journal: Path, entries: dict[str, list[Entry]]) -> Iterator[Callable[[Entry], None]]:
    """Write a journal with these entries; yields a function that adds one."""
    write_written(journal, entries)
    with open(journal, "a", encoding="ascii") as lines:

        def add(entry: Entry) -> None:
            lines.write(f"{json.dumps(entry)}\n")
            lines.flush()

        yield add
