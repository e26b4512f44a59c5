"""Text files as users write them: UTF-8, checked before anything is made of their lines."""

from pathlib import Path

from common.errors import InputError
from common.inputs import require_file

import numpy as np


def is_int64(text: str) -> bool:
    try:
        np.int64(int(text))
        return True
    except (ValueError, OverflowError):
        return False


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, a BOM allowed; `InputError` where it is missing, a folder or binary."""
    return decode_text(path, read_text_bytes(path))


def read_text_bytes(path: Path) -> bytes:
    """The bytes of a text file; `InputError` where it is missing or no regular file."""
    require_file(path)
    try:
        return path.read_bytes()
    except PermissionError:
        raise InputError(f"{path}: no permission to read it: check its mode") from None


def decode_text(path: Path, data: bytes, ends: str = "\n") -> str:
    """The text of a file's bytes, whose lines end as given; `InputError` where they are no UTF-8 text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text (byte {error.start}): save the file as UTF-8") from None
    if "\0" in text and ends != "\0":
        raise InputError(f"{path}: is a binary file, not text: give the path of a text file")
    return text
