"""Writing whole or not at all, one run at a time, and digests of files."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import EnvironmentFault, InputError


def part_path(path: Path) -> Path:
    """The temporary name beside `path` under which it is written; the same in every run."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success flush it to disk and rename it to `path`.

    When the body raises, the temporary file is removed and an earlier `path` stays as it was.
    """
    part = part_path(path)
    try:
        yield part
        flush_to_disk(part)
        part.replace(path)
        flush_to_disk(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success it takes the place of the folder `path`.

    A `path` that is a link or no folder is refused with `InputError`: it is not ours to replace.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path}: is not a folder of this tool: remove it or choose another --output")
    part, old = part_path(path), path.with_name(f".{path.name}.old")
    remove_folder(part)
    try:
        part.mkdir(parents=True)
        yield part
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
    except BaseException:
        remove_folder(part)
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder of ours with all in it; a link is unlinked, never followed."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder, so that a rename after it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the body runs; the lock dies with the process.

    Raises `EnvironmentFault` when another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    _locks.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentFault(
                f"{folder.resolve()}: another run is writing here: wait for it, or choose another place"
            ) from None
        yield
    finally:
        _locks.discard(descriptor)
        os.close(descriptor)


_locks: set[int] = set()


def _release_in_child() -> None:
    for descriptor in _locks:
        os.close(descriptor)
    _locks.clear()


# A worker process that outlives its killed parent for a moment must not keep the parent's lock.
os.register_at_fork(after_in_child=_release_in_child)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as lowercase hex."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
