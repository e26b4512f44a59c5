"""A feature file in the making: rows on disk, and a journal of what of them is whole.

The journal is lines of JSON beside the part file: first what run it is of, then one line for each
piece that is on disk, with its digest and the images that could not be read. A killed run goes on
after the last piece whose bytes are as its line says.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import part_path
from pipeline.formats import FEATURE_DTYPE


class FeatureJournal:
    """Appends pieces of rows to the part file of `path`, and journals them.

    `done` is the number of rows on disk, `unreadable` what the journal says of them.
    """

    def __init__(self, path: Path, run: dict[str, Any], dim: int) -> None:
        self.part, self.journal = part_path(path), path.with_name(f".{path.name}.journal")
        self.row_bytes = dim * FEATURE_DTYPE.itemsize
        self.done = 0
        self.unreadable: list[dict[str, Any]] = []
        whole_lines = self._read_back(run)
        self._rows = open(self.part, "r+b" if self.part.exists() else "w+b")
        self._rows.truncate(self.done * self.row_bytes)
        self._rows.seek(0, os.SEEK_END)
        self._lines = open(self.journal, "w", encoding="utf-8")
        for line in whole_lines or [json.dumps(run)]:
            self._lines.write(line + "\n")
        self._flush()

    def _read_back(self, run: dict[str, Any]) -> list[str]:
        """The journal's lines that hold, of the same run; what they say is taken over."""
        try:
            lines = self.journal.read_text(encoding="utf-8").split("\n")
            if json.loads(lines[0]) != run:
                return []
            held = lines[:1]
            with open(self.part, "rb") as rows:
                for line in lines[1:]:
                    piece = json.loads(line)
                    data = rows.read((piece["end"] - self.done) * self.row_bytes)
                    if hashlib.sha256(data).hexdigest() != piece["sha256"]:
                        return held
                    self.done = piece["end"]
                    self.unreadable += piece["unreadable"]
                    held.append(line)
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):  # the last line was cut short by the kill
            return held if self.done else []
        return held

    def append(self, rows: np.ndarray, unreadable: list[dict[str, Any]]) -> None:
        """Add a piece of rows, float32 (n, dim), flushed to disk before its line is."""
        data = rows.astype(FEATURE_DTYPE, copy=False).tobytes()
        self._rows.write(data)
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self.done += len(rows)
        self.unreadable += unreadable
        digest = hashlib.sha256(data).hexdigest()
        self._lines.write(json.dumps({"end": self.done, "sha256": digest, "unreadable": unreadable}) + "\n")
        self._flush()

    def _flush(self) -> None:
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def close(self) -> None:
        """Close both files; they stay for a run to go on with."""
        self._rows.close()
        self._lines.close()

    def finish(self, path: Path) -> None:
        """Give the whole file its name and drop the journal."""
        self.close()
        self.part.replace(path)
        self.journal.unlink()


def drop_journal(path: Path) -> None:
    """Forget what a stopped run for `path` had done."""
    part_path(path).unlink(missing_ok=True)
    path.with_name(f".{path.name}.journal").unlink(missing_ok=True)
