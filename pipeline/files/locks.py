"""One run at a time: a lock on the folder that a stage writes into."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import EnvironmentFault
from common.progress import warn

# What flock answers where a file system has no locks, or none for folders (NFS).
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


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
