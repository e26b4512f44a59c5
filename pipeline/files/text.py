"""Text files as users write them: UTF-8, checked before anything is made of their lines."""

from pathlib import Path

from common.errors import InputError

import numpy as np


def is_int64(text: str) -> bool:
    try:
        np.int64(int(text))
        return True
    except (ValueError, OverflowError):
        return False


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, a BOM allowed; `InputError` where it is missing, a folder or binary."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a text file: give the path of a file")
    if not path.exists():
        raise InputError(f"{path}: not found: check the path")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file: give the path of a text file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except PermissionError:
        raise InputError(f"{path}: no permission to read it: check its mode") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text (byte {error.start}): save the file as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: is a binary file, not text: give the path of a text file")
    return text
