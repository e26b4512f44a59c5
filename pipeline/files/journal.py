"""A feature file in progress: rows and the images they come from, and a journal of what is complete.

The journal is lines of JSON beside the part files: first one that describes the run, then one for each piece
of rows, with its digest and the images that could not be read. A killed run goes on after the last piece
whose bytes are as its line says, so nothing depends on the order in which the system writes to disk.
Rows of a stopped run whose list has changed are set aside, for the next run to take what it can use.
"""

import glob
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError

import numpy as np

from pipeline.files.atomic import flush_to_disk, own_path, part_path, refuse_irregular, whole_file
from pipeline.files.features import FEATURE_DTYPE, is_unreadable_list
from pipeline.files.image_records import ABSENT, RECORD, image_records_path

MAX_ROWS = 1 << 31  # rows are numbered with int32
FLUSH_SECONDS = 5.0  # the work that a power cut may cost


@dataclass(frozen=True)
class Earlier:
    """Rows that an earlier run computed: float32 (N, D), and the images they come from, RECORD (N,)."""

    rows: np.ndarray
    images: np.ndarray


class FeatureJournal:
    """Appends pieces of rows to the part files of `path`, and journals them.

    `done` is the number of rows on disk, `unreadable` what the journal says of them, `set_aside` are rows
    of stopped runs whose lists began otherwise.
    """

    def __init__(
        self,
        path: Path,
        run: dict[str, Any],
        dim: int,
        images: np.ndarray,
        differences: Callable[[dict[str, Any]], list[str]],
    ) -> None:
        """Go on with what a stopped run left of these images, RECORD (N,), or begin.

        `run` is written into the journal; `differences` takes that of a stopped run and names what
        keeps this one from going on with it. Where it names something, `InputError` says so.
        """
        self.path, self.dim = path, dim
        self.row_bytes = dim * FEATURE_DTYPE.itemsize
        self.done = 0
        self.unreadable: list[dict[str, Any]] = []
        stopped, pieces = read_journal(journal_path(path), MAX_ROWS)
        # A run that was killed while it gave its files their names has them at their places already.
        places = [
            place if place.is_file() and not part_path(place).exists() else part_path(place)
            for place in (path, image_records_path(path))
        ]
        held, records = self._read_back(places, pieces)
        if places[0] == path and self.done != stopped.get("count"):  # some other file
            held, records, self.done, self.unreadable = [], records[:0], 0, []
        if held and (changed := differences(stopped)):
            raise InputError(
                f"{path}: a stopped run has made {self.done} rows of it with {', '.join(changed)}: "
                "repeat that run to go on with it, or begin anew with --restart"
            )
        if held:
            for place in (path, image_records_path(path)):
                if place in places:
                    place.rename(part_path(place))
            if not begins_with(images, records):
                self._set_aside(records)
                held, records = [], records[:0]
        self._rows = self._opened(path, self.done * self.row_bytes)
        self._images = self._opened(image_records_path(path), self.done * RECORD.itemsize)
        with whole_file(journal_path(path)) as part:
            part.write_text("".join(json.dumps(entry) + "\n" for entry in [run, *held]), encoding="ascii")
        self._lines = open(journal_path(path), "a", encoding="ascii")
        self._flushed = time.monotonic()
        self.set_aside = [
            Earlier(
                np.memmap(rows, FEATURE_DTYPE, "r").reshape(-1, dim),
                np.fromfile(records_of_aside(rows), RECORD),
            )
            for rows in rows_set_aside(path)
        ]

    def _read_back(
        self, places: list[Path], pieces: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The pieces up to the first that is not on disk as it was written, and their images."""
        held: list[dict[str, Any]] = []
        records = [np.zeros(0, RECORD)]
        if not all(place.is_file() for place in places):
            return held, records[0]
        with open(places[0], "rb") as rows, open(places[1], "rb") as images:
            for piece in pieces:
                count = piece["end"] - self.done
                data, of_images = rows.read(count * self.row_bytes), images.read(count * RECORD.itemsize)
                whole = len(data) == count * self.row_bytes and len(of_images) == count * RECORD.itemsize
                if not whole or hashlib.sha256(data + of_images).hexdigest() != piece["sha256"]:
                    break
                self.done = piece["end"]
                self.unreadable += piece["unreadable"]
                records.append(np.frombuffer(of_images, RECORD))
                held.append(piece)
        return held, np.concatenate(records)

    def _set_aside(self, records: np.ndarray) -> None:
        """Rename what a stopped run has made, complete rows only."""
        number = 1 + max((number_of_aside(path) for path in rows_set_aside(self.path)), default=0)
        rows = own_path(self.path, f"stopped-{number}")
        records.tofile(records_of_aside(rows))
        os.truncate(part_path(self.path), self.done * self.row_bytes)
        part_path(self.path).rename(rows)
        self.done, self.unreadable = 0, []

    @staticmethod
    def _opened(place: Path, size: int) -> Any:
        part = part_path(place)
        refuse_irregular(part)
        file = open(part, "r+b" if part.exists() else "w+b")
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        return file

    def append(self, rows: np.ndarray, images: np.ndarray, unreadable: list[dict[str, Any]]) -> None:
        """Add a piece of rows, float32 (n, dim), and their images, RECORD (n,)."""
        data, of_images = rows.astype(FEATURE_DTYPE, copy=False).tobytes(), images.tobytes()
        self._rows.write(data)
        self._images.write(of_images)
        self._rows.flush()
        self._images.flush()
        self.done += len(rows)
        self.unreadable += unreadable
        digest = hashlib.sha256(data + of_images).hexdigest()
        self._lines.write(json.dumps({"end": self.done, "sha256": digest, "unreadable": unreadable}) + "\n")
        self._lines.flush()
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        for file in (self._rows, self._images, self._lines):
            file.flush()
            os.fsync(file.fileno())
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the files; they stay for a run to go on with."""
        for file in (self._rows, self._images, self._lines):
            file.close()

    def finish(self) -> None:
        """Give the whole files their names. The journal stays, until `drop_journal`: a run that is killed
        before it has written what belongs to the files takes them up again."""
        self._flush()
        self.close()
        for place in (image_records_path(self.path), self.path):
            part_path(place).replace(place)
        flush_to_disk(self.path.parent)


def begins_with(images: np.ndarray, records: np.ndarray) -> bool:
    """Whether the first of these images are those of the records, as they were or not there any more."""
    first = images[: len(records)]
    same = (first["size"] == records["size"][: len(first)]) & (
        first["modified"] == records["modified"][: len(first)]
    )
    return (
        len(first) == len(records)
        and bool((first["path"] == records["path"]).all())
        and bool((same | (first["size"] == ABSENT)).all())
    )


def journal_path(path: Path) -> Path:
    """The journal of the feature file `path`."""
    return own_path(path, "journal")


def rows_set_aside(path: Path) -> list[Path]:
    """The rows of stopped runs for `path` that were set aside, in the order of their numbers."""
    begins = glob.escape(own_path(path, "stopped-").name)
    found = [place for place in path.parent.glob(f"{begins}*") if number_of_aside(place)]
    return sorted((place for place in found if records_of_aside(place).is_file()), key=number_of_aside)


def number_of_aside(rows: Path) -> int:
    """The number in the name of rows that were set aside; 0 where the name has none."""
    found = re.search(r"-stopped-([1-9]\d*)$", rows.name)
    return int(found[1]) if found else 0


def records_of_aside(rows: Path) -> Path:
    """The images of rows that were set aside."""
    return rows.with_name(f"{rows.name}.images")


def drop_journal(path: Path) -> None:
    """Remove what stopped runs for `path` had done."""
    for place in rows_set_aside(path):
        records_of_aside(place).unlink(missing_ok=True)
        place.unlink(missing_ok=True)
    for place in (part_path(path), part_path(image_records_path(path)), journal_path(path)):
        place.unlink(missing_ok=True)


def read_journal(path: Path, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The run that a journal is of, and its pieces of at most `count` rows, up to the first
    incomplete line."""
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
