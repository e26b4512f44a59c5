"""A feature file in the making: rows on disk, and a journal of what of them is whole.

The journal is lines of JSON beside the part file: first what run it is of, then one line for each
piece of rows, with its digest and the images that could not be read. A killed run goes on after the
last piece whose bytes are as its line says, so nothing depends on the order in which the system
writes to disk.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files.atomic import flush_to_disk, part_path, whole_file
from pipeline.files.features import FEATURE_DTYPE, is_unreadable_list

FLUSH_SECONDS = 5.0  # of work that a power cut may cost


class FeatureJournal:
    """Appends pieces of rows to the part file of `path`, and journals them.

    `done` is the number of rows on disk, `unreadable` what the journal says of them.
    """

    def __init__(
        self, path: Path, run: dict[str, Any], dim: int, differences: Callable[[dict[str, Any]], list[str]]
    ) -> None:
        """Go on with what a stopped run left, or begin.

        `run` is written into the journal; `differences` takes that of a stopped run and names what
        keeps this one from going on with it. Where it names something, `InputError` says so.
        """
        self.path, self.part = path, part_path(path)
        self.row_bytes = dim * FEATURE_DTYPE.itemsize
        self.done = 0
        self.unreadable: list[dict[str, Any]] = []
        stopped, pieces = read_journal(journal_path(path), run["count"])
        # A run that was killed after `finish` has its rows at `path` already.
        rows_path = path if path.is_file() and not self.part.exists() else self.part
        held = self._read_back(rows_path, pieces)
        if rows_path == path and self.done != stopped.get("count"):  # some other file
            held, self.done, self.unreadable = [], 0, []
        if held and (changed := differences(stopped)):
            raise InputError(
                f"{path}: a stopped run has made {self.done} rows of it with {', '.join(changed)}: "
                "repeat that run to go on with it, or begin anew with --restart"
            )
        if held and rows_path == path:
            path.rename(self.part)
        self._rows = open(self.part, "r+b" if self.part.exists() else "w+b")
        self._rows.truncate(self.done * self.row_bytes)
        self._rows.seek(0, os.SEEK_END)
        with whole_file(journal_path(path)) as part:
            part.write_text("".join(json.dumps(entry) + "\n" for entry in [run, *held]), encoding="ascii")
        self._lines = open(journal_path(path), "a", encoding="ascii")
        self._flushed = time.monotonic()

    def _read_back(self, rows_path: Path, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The pieces up to the first that is not on disk as it was written."""
        held: list[dict[str, Any]] = []
        if not rows_path.is_file():
            return held
        with open(rows_path, "rb") as rows:
            for piece in pieces:
                data = rows.read((piece["end"] - self.done) * self.row_bytes)
                if hashlib.sha256(data).hexdigest() != piece["sha256"]:
                    break
                self.done = piece["end"]
                self.unreadable += piece["unreadable"]
                held.append(piece)
        return held

    def append(self, rows: np.ndarray, unreadable: list[dict[str, Any]]) -> None:
        """Add a piece of rows, float32 (n, dim)."""
        data = rows.astype(FEATURE_DTYPE, copy=False).tobytes()
        self._rows.write(data)
        self._rows.flush()
        self.done += len(rows)
        self.unreadable += unreadable
        digest = hashlib.sha256(data).hexdigest()
        self._lines.write(json.dumps({"end": self.done, "sha256": digest, "unreadable": unreadable}) + "\n")
        self._lines.flush()
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        for file in (self._rows, self._lines):
            file.flush()
            os.fsync(file.fileno())
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close both files; they stay for a run to go on with."""
        self._rows.close()
        self._lines.close()

    def finish(self) -> None:
        """Give the whole file its name. The journal stays, until `drop_journal`: a run that is killed
        before it has written what belongs to the file takes it up again."""
        self._flush()
        self.close()
        self.part.replace(self.path)
        flush_to_disk(self.path.parent)


def journal_path(path: Path) -> Path:
    """The journal of the feature file `path`."""
    return path.with_name(f".{path.name}.journal")


def drop_journal(path: Path) -> None:
    """Forget what a stopped run for `path` had done."""
    part_path(path).unlink(missing_ok=True)
    journal_path(path).unlink(missing_ok=True)


def read_journal(path: Path, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What run a journal is of, and its pieces of at most `count` rows, up to the first line that is
    not whole."""
    if not path.is_file():
        return {}, []
    entries: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # the last line was cut short by the kill
            break
        start = entries[-1]["end"] if len(entries) > 1 else 0
        if not (_is_piece(entry, start, count) if entries else isinstance(entry, dict)):
            break
        entries.append(entry)
    return (entries[0], entries[1:]) if entries else ({}, [])


def _is_piece(entry: Any, start: int, count: int) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("end")) is int
        and start < entry["end"] <= count
        and isinstance(entry.get("sha256"), str)
        and is_unreadable_list(entry.get("unreadable"))
    )
