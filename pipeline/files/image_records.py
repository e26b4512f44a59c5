"""`feature.images`: which image each row of a feature file was made from, so that later runs recognize it.

A record of 48 bytes for each row, little-endian, in the order of the rows: a digest of the image's path, its
size and time of change, a digest of its content, and what makes it doubtful (the bits of
`pipeline.images.DOUBTS`). The content is 0 for an image that could not be read.
"""

import hashlib
import os
from pathlib import Path

from common.progress import track

import numpy as np

RECORD = np.dtype(
    [("path", "<u8"), ("size", "<i8"), ("modified", "<i8"), ("content", "<u8", (2,)), ("doubts", "<i8")]
)
ABSENT = -1  # the size of a file that is not there


def image_records_path(path: Path) -> Path:
    """The place beside a feature file: `feature.bin` has `feature.images`."""
    return path.with_suffix(".images")


def read_image_records(path: Path, count: int, digest: str | None) -> np.ndarray | None:
    """The records beside a feature file, RECORD (count,); None where their SHA-256 is not `digest`."""
    place = image_records_path(path)
    if not place.is_file() or place.stat().st_size != count * RECORD.itemsize:
        return None
    data = place.read_bytes()
    return np.frombuffer(data, RECORD) if hashlib.sha256(data).hexdigest() == digest else None


def look_at_images(paths: list[Path]) -> np.ndarray:
    """Records of images whose content has not been read, RECORD (N,); size ABSENT where there is no file."""
    records = np.zeros(len(paths), RECORD)
    for row, path in enumerate(track(paths, "looking for images", "images")):
        records[row]["path"] = _number(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 - Path keeps `..`
        try:
            found = os.stat(path)  # noqa: PTH116
            records[row]["size"], records[row]["modified"] = found.st_size, found.st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            records[row]["size"] = ABSENT
        except (OSError, ValueError):
            pass  # reading it reports why it cannot be read
    return records


def content_of(data: bytes) -> tuple[int, int]:
    """The digest of an image's bytes as a record holds it, never zero."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little") | 1, int.from_bytes(digest[8:], "little")


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
