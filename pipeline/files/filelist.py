"""File lists: the text file that names one image a line, whose order the rows of all files follow."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

from pipeline.files.atomic import digest_file
from pipeline.files.features import Features
from pipeline.files.text import read_text


@dataclass(frozen=True)
class FileList:
    """The images of a list: `names` as written, `paths` where they are looked for, in the same order."""

    path: Path
    names: list[str]
    paths: list[Path]


def read_filelist(path: Path) -> FileList:
    """Read a file list: UTF-8 with or without a BOM, lines ended by LF or CRLF, blank lines skipped.

    A relative path is taken from the list's own folder or, where no such file is there, from the
    working directory. Raises `InputError` where the list cannot be read or names no image.
    """
    # Not splitlines(): it also breaks at characters that a file name may hold.
    lines = (line.removesuffix("\r") for line in read_text(path).split("\n"))
    names = [line for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path}: names no image: write the path of one face crop a line")
    # Names on disk are bytes, UTF-8 as in the list whatever the locale says.
    return FileList(path, names, [_locate(path.parent, os.fsdecode(name.encode())) for name in names])


def filelist_of_features(meta: dict[str, Any]) -> FileList | None:
    """The file list that `feature.json` names, None where it names none.

    Raises `InputError` where the list is gone or has changed since the features were made.
    """
    if not isinstance(meta.get("filelist"), str):
        return None
    path = Path(meta["filelist"])
    if path.is_file() and digest_file(path) != meta.get("filelist_sha256"):
        raise InputError(
            f"{path}: has changed since the features were made: run `sh run_preprocess.sh` again, "
            "or give the list as it was with --filelist"
        )
    return read_filelist(path)


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
    beside = folder / name
    here = Path(name)
    # Not Path.exists(): it raises for a name that is too long, or a folder that may not be entered.
    return here if not os.path.exists(beside) and os.path.exists(here) else beside  # noqa: PTH110
