"""Writing whole or not at all, one run at a time, and digests of files."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import EnvironmentFault, InputError
from common.progress import warn

# What flock answers where a file system has no locks, or none for folders (NFS).
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def part_path(path: Path) -> Path:
    """The temporary name beside `path` under which it is written; the same in every run."""
    return path.with_name(f".{path.name.removeprefix('.')}.part")


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


def refuse_other_than_folder(path: Path) -> None:
    """Raise `InputError` where `path` has no name, or is a link or no folder: not ours to replace."""
    if path.is_symlink() or (path.exists() and not path.is_dir()) or not path.name:
        raise InputError(f"{path}: is not a folder of this tool: remove it or choose another --output")


@contextmanager
def whole_folder(path: Path, holds: tuple[str, ...]) -> Iterator[Path]:
    """Yield a temporary folder; on success it takes the place of the folder `path`.

    `holds` are patterns of all the names that such a folder may hold: a `path` with anything else in
    it, or that is a link or no folder, is not ours to replace and refused with `InputError`.
    """
    refuse_other_than_folder(path)
    clear_up(path)
    for entry in path.iterdir() if path.exists() else ():
        if not any(map(entry.match, holds)):
            raise InputError(
                f"{path}: holds {entry.name}, which is not of this tool: choose another --output"
            )
    part = part_path(path)
    try:
        part.mkdir(parents=True)
        yield part
        for folder, _, names in os.walk(part):
            for name in names:
                flush_to_disk(Path(folder, name))
            flush_to_disk(Path(folder))
        if path.exists():
            path.rename(_old_path(path))
        part.rename(path)
        flush_to_disk(path.parent)
    finally:
        clear_up(path)


def clear_up(path: Path) -> None:
    """Remove what a run leaves beside its folder `path` when it is killed or has failed.

    One that ended while its whole folder was taking the place of `path` is completed.
    """
    part, old = part_path(path), _old_path(path)
    if old.exists() and not path.exists():
        (part if part.exists() else old).rename(path)
    remove_folder(part)
    remove_folder(old)


def _old_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


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
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warn(f"{folder.resolve()}: the file system has no locks: start no second run in this place")
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
