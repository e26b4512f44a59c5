"""JSON objects on disk, read with one line for whatever is wrong and written whole or not at all."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import require_file

from pipeline.files.atomic import whole_file

Check = Callable[[Any], bool]


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON object; `made_by` is the command to run where the file is missing or damaged."""
    require_file(path, f"run `{made_by}` first")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(
            f"{path}: is no JSON file (truncated?): remove it and run `{made_by}` again"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object: remove it and run `{made_by}` again")
    return value


def check_fields(path: Path, value: dict[str, Any], made_by: str, **checks: Check) -> None:
    """Raise `InputError` naming the first invalid field of the object, which was read from `path`."""
    for name, is_sound in checks.items():
        if not is_sound(value.get(name)):
            what = "damaged" if name in value else "missing"
            raise InputError(f"{path}: `{name}` is {what}: run `{made_by}` again")


def is_count(value: Any) -> bool:
    """Whether this is an integer that may be a size."""
    return type(value) is int and 0 <= value < 1 << 48


def is_finite(value: Any) -> bool:
    """Whether this is a finite number."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_text(value: Any) -> bool:
    """Whether this is a string."""
    return isinstance(value, str)


def list_of(is_sound: Check) -> Check:
    """A check for lists whose every item passes the given check."""
    return lambda value: isinstance(value, list) and all(map(is_sound, value))


def optional(is_sound: Check) -> Check:
    """A check for values that pass the given check or are None."""
    return lambda value: value is None or is_sound(value)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all, keys in the given order."""
    with whole_file(path) as part:
        dump_json(part, value)


def dump_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # Of a path that is not UTF-8, the odd bytes become JSON's escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
