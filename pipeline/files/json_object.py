"""JSON objects on disk, read with one line for whatever is wrong and written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from common.errors import InputError

from pipeline.files.atomic import whole_file


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON object; `made_by` is the command to run where the file is missing or damaged."""
    refuse_special(path, made_by)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON file (truncated?): run `{made_by}` again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object: run `{made_by}` again")
    return value


def refuse_special(path: Path, made_by: str) -> None:
    """Raise `InputError` where `path` is no regular file: reading a FIFO or a device might never end."""
    if not path.exists():
        raise InputError(f"{path}: not found: run `{made_by}` first")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file: remove it and run `{made_by}`")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all, keys in the given order."""
    with whole_file(path) as part:
        dump_json(part, value)


def dump_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # Of a path that is not UTF-8, the odd bytes become JSON's escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
