"""Files and folders written whole or not at all, and digests of files."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError
from common.inputs import is_there

HEAD = 4096  # bytes of a file in which this tool's mark is


def own_path(path: Path, what: str) -> Path:
    """A hidden name beside `path` for something of a run that writes it; the same in every run.

    It names this tool, so that nothing of a user's is taken for it, and removed.
    """
    return path.with_name(f".{path.name.removeprefix('.')}.face-clusters-{what}")


def part_path(path: Path) -> Path:
    """The temporary name beside `path` under which it is written."""
    return own_path(path, "part")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success flush it to disk and rename it to `path`.

    When the body raises, the temporary file is removed and an earlier `path` stays as it was. Raises
    `InputError` where `path` is a link or no regular file.
    """
    refuse_irregular(path)
    part = part_path(path)
    part.unlink(
        missing_ok=True
    )  # left by a killed run, or a link that would be followed, or a FIFO that would wait
    try:
        yield part
        flush_to_disk(part)
        part.replace(path)
        flush_to_disk(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def refuse_irregular(path: Path) -> None:
    """Raise `InputError` where something that is no regular file, be it a link or a device, is at `path`."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is no regular file, so it is not replaced: choose another --output")


def refuse_foreign(path: Path, mark: bytes, beside: Path | None = None) -> None:
    """Raise `InputError` where a file is at `path` that this tool did not write.

    What it wrote has `mark` among its first HEAD bytes, or where that can hold none, among those of the
    file `beside` it.
    """
    refuse_irregular(path)
    if not is_there(path):
        return
    marked = beside or path
    if marked.is_file():
        with open(marked, "rb") as file:
            if mark in file.read(HEAD):
                return
    raise InputError(
        f"{path}: is there and was not written by this command: choose another --output, or move it away"
    )


def refuse_other_than_folder(path: Path) -> None:
    """Raise `InputError` where `path` has no name, or is a link or no folder: not ours to replace."""
    if path.is_symlink() or (path.exists() and not path.is_dir()) or not path.name:
        raise InputError(f"{path}: is not a folder of this tool: move it away or choose another --output")


def refuse_others_in_folder(path: Path, holds: tuple[str, ...]) -> None:
    """Raise `InputError` where a folder has anything in it, at any depth, that no pattern of `holds` fits."""
    for entry in path.rglob("*"):
        name = entry.relative_to(path)
        if not any(len(Path(one).parts) == len(name.parts) and name.match(one) for one in holds):
            raise InputError(f"{path}: holds {name}, which is not of this tool: choose another --output")


@contextmanager
def whole_folder(path: Path, holds: tuple[str, ...]) -> Iterator[Path]:
    """Yield a temporary folder; on success it takes the place of the folder `path`.

    `holds` are patterns of all the paths that may be below such a folder: a `path` with anything else in
    it, or that is a link or no folder, is not ours to replace and refused with `InputError`.
    """
    refuse_other_than_folder(path)
    clear_up(path)
    refuse_others_in_folder(path, holds)
    part = part_path(path)
    try:
        part.mkdir(parents=True)
        yield part
        put_in_place(path)
    finally:
        clear_up(path)


def put_in_place(path: Path) -> None:
    """Give the whole folder at `part_path(path)` its name, in place of an earlier one."""
    part, old = part_path(path), _old_path(path)
    for folder, _, names in os.walk(part):
        for name in names:
            flush_to_disk(Path(folder, name))
        flush_to_disk(Path(folder))
    remove_folder(old)
    if path.exists():
        path.rename(old)
    part.rename(path)
    flush_to_disk(path.parent)
    remove_folder(old)


def clear_up(path: Path) -> None:
    """Remove what a run leaves beside its folder `path` when it is killed or has failed.

    One that ended while its whole folder was taking the place of `path` is completed.
    """
    part, old = part_path(path), _old_path(path)
    if old.exists() and not path.exists():
        (part if part.exists() else old).rename(path)
    remove_folder(part)
    remove_folder(old)


def take_back(path: Path) -> None:
    """Put a folder back that was being replaced when a run was killed; its successor stays beside it."""
    if _old_path(path).exists() and not path.exists():
        _old_path(path).rename(path)


def _old_path(path: Path) -> Path:
    return own_path(path, "old")


def remove_folder(path: Path) -> None:
    """Remove a folder of ours with all in it; a link or a file in its place is unlinked, never followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder, so that a rename after it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as lowercase hex."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
