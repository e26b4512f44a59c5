"""People for other programs: a folder of faces each, or a table of path, cluster and confidence."""

import csv
import os
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InputError

from pipeline.files.atomic import refuse_foreign, whole_file
from pipeline.files.clusters import read_cluster_json
from pipeline.files.faces import PhotoFace, faces_of_crops
from pipeline.files.features import feature_json_path
from pipeline.files.filelist import FileList, filelist_of_features, read_filelist
from pipeline.files.json_object import write_json
from pipeline.files.written import Content, Copy, Link, update_folder
from pipeline.groups import Groups

CSV_COLUMNS = ("path", "cluster", "confidence")
FORMULA_STARTS = tuple("=+-@＝＋－＠")  # noqa: RUF001  (spreadsheets take wide ones for the same)
PLACE = ("photo", "left", "top", "right", "bottom")  # of the face in its photo, in pixels
MISSING = "missing_images.txt"
NAME_BYTES = 200
"""Longest tail kept of an image's name, so that with its row before it the name stays legal."""


class Face(NamedTuple):
    """One line of the table; `row` is its line of the file list, from 0.

    `person` is the id that the person keeps. `photo` is the photo and the box where the face was found, as
    `faces.json` says.
    """

    row: int
    path: Path
    cluster: int
    confidence: float | None
    name: str | None
    person: int | None = None
    photo: PhotoFace | None = None


def read_listed(path: Path | None, features_path: Path, meta: dict[str, Any]) -> FileList:
    """The list `path`, or the one that `meta`, the JSON beside the features, names."""
    filelist = read_filelist(path) if path else filelist_of_features(meta)
    if filelist is None:
        raise InputError(
            f"{feature_json_path(features_path)}: names no file list: "
            "give the list of the images with --filelist"
        )
    return filelist


def read_confidence(
    clusters_path: Path, count: int, meta: dict[str, Any]
) -> tuple[list[float | None], list[str | None], list[int | None], list[int]]:
    """Predicted IoU, name and id of each cluster, and the numbers of the hidden ones.

    None, and none hidden, where no JSON lies beside the clusters.
    """
    values = read_cluster_json(clusters_path)
    if values is None:
        return [None] * count, [None] * count, [None] * count, []
    digest = meta.get("feature_sha256")
    if digest and values.get("features_sha256") != digest:
        raise InputError(
            f"{clusters_path}: was made from other features than feature.json is about: "
            "run `sh run_proposal.sh` and `sh run_predict.sh` again"
        )
    return values["predicted_iou"], values["names"], values["ids"] or [None] * count, values["hidden"]


def join(
    clusters: Groups,
    filelist: FileList,
    confidence: list[float | None],
    names: list[str | None],
    ids: list[int | None],
    hidden: list[int],
) -> Iterator[Face]:
    """The faces of each cluster that is not `hidden`, in turn."""
    where, left_out = faces_of_crops(filelist.path), set(hidden)
    for row, cluster in zip(clusters.members.tolist(), clusters.owners.tolist(), strict=True):
        if cluster in left_out:
            continue
        photo = where.get(filelist.names[row])
        path = filelist.paths[row].absolute()
        yield Face(row, path, cluster + 1, confidence[cluster], names[cluster], ids[cluster], photo)


def with_photos_alone(faces: list[Face], listed: Path) -> list[Face]:
    """The photo instead of each crop, once for each person; `InputError` where none is known."""
    unknown = next((face for face in faces if face.photo is None), None)
    if unknown:
        raise InputError(
            f"{listed}: nothing says which photo {unknown.path.name} is from: "
            "--photos needs the faces.json that `sh run_align.sh PHOTOS` writes beside the list"
        )
    once = {(face.cluster, face.photo.photo): face for face in reversed(faces) if face.photo}
    return [face._replace(path=photo.absolute()) for (_, photo), face in reversed(once.items())]


def write_folders(output: Path, faces: list[Face], people: int, copy: bool) -> tuple[list[Path], list[Path]]:
    """Write a folder a person, with links to the images or copies; `people` is the highest number of one.

    Returns the paths of what was kept, as `update_folder` does, and the images that are not there: they are
    left out, and listed in the file MISSING. Raises `InputError` where none is there.
    """
    digits, row_digits = len(str(people)), len(str(max((face.row for face in faces), default=0)))
    wanted: dict[str, Content] = {}
    missing = []
    for face in faces:
        if not can_be_read(face.path):
            missing.append(face.path)
            continue
        # The row makes names unique and tames one like `..`; of a long name the tail is kept.
        tail = os.fsencode(face.path.name)[-NAME_BYTES:].decode(errors="ignore")
        person = f"person_{face.cluster:0{digits}d}{as_file_name(face.name)}"
        place = f"{person}/{face.row:0{row_digits}d}_{tail}"
        wanted[place] = Copy(face.path) if copy else Link(face.path)
    if missing and not wanted:
        raise InputError(
            f"{missing[0]}: not found, nor is any other image: put them back, or give their new --filelist"
        )
    if missing:
        wanted[MISSING] = lambda: b"".join(os.fsencode(path) + b"\n" for path in missing)
    return update_folder(output, wanted), missing


def can_be_read(path: Path) -> bool:
    """Whether there is a file that may be read."""
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113  (Path.is_file may raise)


def refuse_images_in(output: Path, paths: Iterable[Path]) -> None:
    """Raise `InputError` where an image lies in the folder to write, or leads there."""
    folder = output.resolve()
    resolved = cache(Path.resolve)
    for path in paths:
        place = resolved(path.parent) / path.name
        if folder in place.parents or (place.is_symlink() and folder in place.resolve().parents):
            raise InputError(f"{path}: is one of the images, and lies in {output}: choose another --output")


def as_file_name(name: str | None) -> str:
    """A person's name as the end of a folder's: what file systems or shells may refuse becomes `_`.

    It is composed (NFC) and does not end in a dot or a space, which some systems drop.
    """
    letters = unicodedata.normalize("NFC", name or "").strip()
    tame = "".join(letter if letter.isalnum() or letter in " -.'" else "_" for letter in letters)
    cut = tame.encode()[:NAME_BYTES].decode(errors="ignore").rstrip(" .")
    return f"_{cut}" if cut else ""


def write_csv(output: Path, faces: list[Face]) -> None:
    """Write the table with a header line; the person's id and the name are columns where any person has
    one, photo and box where any photo is known.

    No cell can pass for a formula: paths are absolute, and a name that begins like one gets a quote.
    """
    named, placed = any(face.name for face in faces), any(face.photo for face in faces)
    lasting = any(face.person is not None for face in faces)
    refuse_foreign(output, ",".join(CSV_COLUMNS).encode())
    # Of a path that is not UTF-8, or a name with half a letter, the odd parts are escaped.
    with (
        whole_file(output) as part,
        open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        columns = [*CSV_COLUMNS] + ["person"] * lasting + ["name"] * named + list(PLACE) * placed
        writer.writerow(columns)
        for face in faces:
            name = face.name or ""
            tame = f"'{name}" if name.lstrip()[:1] in FORMULA_STARTS or name[:1].isspace() else name
            place = [face.photo.photo.absolute(), *face.photo.box] if face.photo else []
            cells = (
                [face.path, face.cluster, face.confidence] + [face.person] * lasting + [tame] * named + place
            )
            writer.writerow(cells + [""] * (len(columns) - len(cells)))


def write_table_json(output: Path, faces: list[Face]) -> None:
    """Write the table as a JSON object with a list `faces`; id and name are there where a person has one."""
    rows = [
        {"path": str(f.path), "cluster": f.cluster, "confidence": f.confidence}
        | ({} if f.person is None else {"person": f.person})
        | ({"name": f.name} if f.name else {})
        | ({"photo": str(f.photo.photo.absolute()), "box": f.photo.box} if f.photo else {})
        for f in faces
    ]
    refuse_foreign(output, b'"faces"')
    write_json(output, {"format": 1, "faces": rows})
