"""Thumbnails of faces: small JPEG files made once, and named by the image they were made from."""

import hashlib
from pathlib import Path

from common.errors import InputError

from PIL import Image

from pipeline.files.atomic import part_path
from pipeline.images import read_image

SIDE = 128  # most pixels of a side; smaller images are not enlarged
QUALITY = 82
VERSION = "1"  # of how thumbnails are made: a part of their names


def thumbnail_key(path: Path) -> str:
    """Name of an image's thumbnail, 16 hex digits: another where path, size or change time is.

    Empty where there is no such file.
    """
    try:
        found = path.stat()
    except OSError:
        return ""
    text = f"{VERSION} {path.absolute()} {found.st_mtime_ns} {found.st_size}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def thumbnail_place(folder: Path, key: str) -> Path:
    """Where the thumbnail of this key lies: spread over 256 folders."""
    return folder / key[:2] / f"{key[2:]}.jpg"


def make_thumbnail(job: tuple[Path, Path]) -> bool:
    """Make the thumbnail of an image at a place, whole or not at all; False where it cannot be read."""
    path, place = job
    try:
        image = read_image(path)
    except InputError:
        return False
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    place.parent.mkdir(parents=True, exist_ok=True)
    # Not flushed to disk as other results are: that takes longer than making it again.
    image.save(part_path(place), "JPEG", quality=QUALITY)
    part_path(place).replace(place)
    return True
