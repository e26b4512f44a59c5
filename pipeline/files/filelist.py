"""File lists: the text file that names one image per line, whose order the rows of all files follow."""

import hashlib
import os
import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from common.errors import InputError

from pipeline.files.features import Features
from pipeline.files.text import decode_text, read_text_bytes


@dataclass(frozen=True)
class FileList:
    """The images of a list: `names` as written and `paths` on disk, in the same order; `sha256` is of the
    bytes that were read."""

    path: Path
    names: list[str]
    paths: list[Path]
    sha256: str = ""


def read_filelist(path: Path) -> FileList:
    """Read a file list: UTF-8 with or without a BOM, lines ended by LF or CRLF, blank lines skipped.

    Where it ends with a NUL byte, as `find -print0` writes it, names end with those instead and may hold
    line breaks. A relative path is taken from the list's own folder or, where no such file is there, from
    the working directory. Raises `InputError` where the list cannot be read or names no image.
    """
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, not a file list: "
            f"for photos, run `sh run_align.sh {shlex.quote(str(path))}`; "
            "for aligned crops, write a list of them (`find FOLDER -type f > faces.txt`)"
        )
    data = read_text_bytes(path)
    ends = "\0" if data.endswith(b"\0") and data.strip(b"\0") else "\n"
    # Not splitlines(): it also breaks at characters that a file name may hold.
    lines = decode_text(path, data, ends).split(ends)
    names = [name for line in lines if (name := line if ends == "\0" else line.removesuffix("\r")).strip()]
    if not names:
        raise InputError(f"{path}: names no image: write the path of one face crop per line")
    # Names on disk are bytes, UTF-8 as in the list whatever the locale says.
    paths = [_locate(path.parent, os.fsdecode(name.encode())) for name in names]
    return FileList(path, names, paths, hashlib.sha256(data).hexdigest())


def filelist_of_features(meta: dict[str, Any]) -> FileList | None:
    """The file list that `feature.json` names, None where it names none.

    Raises `InputError` where the list is gone or has changed since the features were made.
    """
    if not isinstance(meta.get("filelist"), str):
        return None
    path = Path(meta["filelist"])
    if not path.exists():
        raise InputError(
            f"{path}: the file list of the features is not there any more: give --filelist its new place, "
            "or run `sh run_preprocess.sh` with it (features of images that moved are used again)"
        )
    filelist = read_filelist(path)
    if filelist.sha256 != meta.get("filelist_sha256"):
        raise InputError(
            f"{path}: has changed since the features were made: run `sh run_preprocess.sh` again, "
            "or give the list as it was with --filelist"
        )
    return filelist


def filelist_of_rows(path: Path | None, features: Features) -> FileList | None:
    """The list at `path`, or where that is None the one that `feature.json` names; None where it names none.

    Raises `InputError` where it does not name an image for each row.
    """
    filelist = read_filelist(path) if path else filelist_of_features(features.meta)
    if filelist and len(filelist.names) != len(features.rows):
        raise InputError(
            f"{filelist.path}: names {len(filelist.names)} images but {features.path} has "
            f"{len(features.rows)} rows: give --filelist the list that these features came from"
        )
    return filelist


def known_names(meta: dict[str, Any]) -> list[str] | None:
    """The names in the list that `feature.json` names, None where it names none or that has changed."""
    try:
        filelist = filelist_of_features(meta)
    except InputError:
        return None
    return filelist.names if filelist else None


def _locate(folder: Path, name: str) -> Path:
    """The path of a named image: as written, else as it may be meant, else where it is missing."""
    for written in (name, *_meant(name)):
        for place in (folder / written, Path(written)):
            # Not Path.exists(): it raises for a name that is too long, or a folder that may not be entered.
            if os.path.exists(place):  # noqa: PTH110
                return place
    return folder / name


def _meant(name: str) -> Iterator[str]:
    """What the name of no file may mean: other Unicode forms, or a name with something written around it."""
    bare = name.strip().strip("\"'")
    yield from (unicodedata.normalize(form, bare) for form in ("NFC", "NFD"))
    if bare.startswith("file://"):
        yield unquote(bare.removeprefix("file://").removeprefix("localhost"))
    if bare.startswith("~"):
        yield os.path.expanduser(bare)  # noqa: PTH111
    if "\\" in bare:
        yield bare.replace("\\", "/")
    path, _, label = bare.rpartition(" ")
    if path and label.lstrip("-").isdigit():
        yield path.strip()  # a line of a path and its label
