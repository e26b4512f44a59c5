"""Thumbnails of faces: small JPEG files made once, and named by the image they were made from."""

import hashlib
import warnings
from pathlib import Path

from common.errors import InputError
from common.progress import bar, track, warn
from common.threads import in_threads

import numpy as np
from PIL import Image

from pipeline.files.atomic import part_path, refuse_other_than_folder
from pipeline.files.filelist import FileList
from pipeline.images import read_image

SIDE = 128  # most pixels of a side; smaller images are not enlarged
QUALITY = 82  # of JPEG: about 3.3 kB per face of LFW
VERSION = "1"  # of the way thumbnails are made: a part of their names


def thumbnail_key(path: Path) -> str:
    """Name of an image's thumbnail, 16 hex digits, by the image's path, size and change time.

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
    refuse_other_than_folder(place.parent)
    part = part_path(place)
    part.unlink(missing_ok=True)  # a link would be followed, a FIFO would wait
    # Not flushed to disk as other results are: that takes longer than making it again.
    image.save(part, "JPEG", quality=QUALITY)
    part.replace(place)
    return True


def thumbnails_of(
    folder: Path, filelist: FileList | None, rows: np.ndarray, workers: int | None
) -> list[str]:
    """Make the thumbnails that `folder` lacks; returns the key of each row's, empty where there is none."""
    if filelist is None:
        return [""] * len(rows)
    paths = [filelist.paths[row] for row in rows.tolist()]
    keys = [thumbnail_key(path) for path in track(paths, "looking for images", "images")]
    path_of = {key: path for key, path in zip(keys, paths, strict=True) if key}
    missing = [key for key in path_of if not thumbnail_place(folder, key).exists()]
    jobs = [(path_of[key], thumbnail_place(folder, key)) for key in missing]
    failed = {""}
    with bar(len(jobs), "thumbnails", "images") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, `read_image` reports
        for key, made in zip(missing, in_threads(make_thumbnail, jobs, workers), strict=True):
            progress.update()
            if not made:
                failed.add(key)
    unseen = sum(key in failed for key in keys)
    if unseen:
        first = next(path for path, key in zip(paths, keys, strict=True) if key in failed)
        warn(f"{unseen} images cannot be read now, and are shown by number: the first is {first}")
    return ["" if key in failed else key for key in keys]
