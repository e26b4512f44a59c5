"""The photos that a command line names: in folders, one by one, or by a file list."""

import os
from pathlib import Path

from common.errors import InputError

from pipeline.files.filelist import read_filelist

# Endings that tell photos from other files in a folder.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".heic", ".heif", ".hif", ".avif", ".webp", ".tif", ".tiff"),
    *(".bmp", ".gif", ".jp2", ".mpo", ".pgm", ".ppm", ".tga"),
)


def find_photos(given: list[Path], besides: Path) -> list[Path]:
    """The photos in the order given, those of a folder sorted by name, folder by folder; each path once.

    Folders are searched with all in them except hidden files and the folder `besides`; links are followed,
    but no folder is entered twice. What is neither a folder nor has a photo's ending is a file list. Raises
    `InputError` where something is not there, or there is no photo at all.
    """
    entered = {_identity(besides)} if besides.is_dir() else set()
    photos: list[Path] = []
    for path in given:
        if path.is_dir():
            photos += _photos_in(path, entered)
        elif is_photo(path):
            photos.append(path)
        else:
            photos += _photos_listed(path)
    if not photos:
        raise InputError(f"{given[0]}: holds no photo: give a folder of photos, photos, or a file list")
    return list(dict.fromkeys(photos))


def is_photo(path: Path) -> bool:
    """Whether a file's ending is that of a photo."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def _photos_listed(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: not found: give a folder of photos, photos, or a file list")
    return read_filelist(path).paths


def _photos_in(folder: Path, entered: set[tuple[int, int]]) -> list[Path]:
    if _identity(folder) in entered:
        return []
    entered.add(_identity(folder))
    photos: list[Path] = []
    # By bytes: the same order whatever the locale and the file system.
    for entry in sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name)):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            photos += _photos_in(entry, entered)
        elif is_photo(entry):
            photos.append(entry)
    return photos


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
