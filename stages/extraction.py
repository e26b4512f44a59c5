"""Feature extraction: what of an earlier run may be used again, and the rows computed and journaled."""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import bar

import numpy as np
import torch

from model.backbones import Backbone
from model.device import keep_to_one_thread
from pipeline.files.atomic import digest_file
from pipeline.files.features import SCAN_ROWS, feature_json_path, is_unreadable_list
from pipeline.files.filelist import FileList
from pipeline.files.journal import FeatureJournal
from pipeline.files.json_object import read_json
from pipeline.images import frame_box, read_face

# What feature.json and a journal must agree on with a run for its rows to be used again.
SAME = ("model", "crop", "weights_sha256", "dim")
Piece = tuple[np.ndarray, list[str]]
Compute = Callable[[list[Path]], Piece]


def digest_names(names: list[str]) -> str:
    """SHA-256 of the names of a file list, however its lines end."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def finished_run(output: Path, run: dict[str, Any], filelist: FileList) -> dict[str, Any]:
    """The JSON of a finished output for the first lines of this list, or nothing."""
    if not (output.exists() and feature_json_path(output).exists()):
        return {}
    meta = read_json(feature_json_path(output), "sh run_preprocess.sh FILELIST --restart")
    count = meta.get("count")
    same = all(meta.get(name) == run[name] for name in SAME)
    if not same or not isinstance(count, int) or not 0 < count <= run["count"]:
        return {}
    if meta.get("names_sha256") != digest_names(filelist.names[:count]):
        return {}
    if not is_unreadable_list(meta.get("unreadable")):
        return {}
    return meta if meta.get("feature_sha256") == digest_file(output) else {}


def differences(stopped: dict[str, Any], run: dict[str, Any], filelist: FileList) -> list[str]:
    """What of a stopped run this one cannot go on with, in words; its list may have grown since."""
    words = {"model": "--model {}", "crop": "--crop {}", "device": "--device {}"}
    changed = [
        text.format(stopped.get(name)) for name, text in words.items() if stopped.get(name) != run[name]
    ]
    if stopped.get("weights_sha256") != run["weights_sha256"] and stopped.get("model") == run["model"]:
        changed.append("other --weights")
    count = stopped.get("count")
    names = filelist.names[:count] if isinstance(count, int) else []
    if count != len(names) or stopped.get("names_sha256") != digest_names(names):
        changed.append(f"another file list, of {count} images")
    return changed


def take_over(journal: FeatureJournal, rows: np.ndarray, unreadable: list[dict[str, Any]]) -> None:
    """Go on with the rows of a finished run whose list has grown."""
    for start in range(journal.done, len(rows), SCAN_ROWS):
        end = min(start + SCAN_ROWS, len(rows))
        journal.append(rows[start:end], [entry for entry in unreadable if start <= entry["row"] < end])


def compute_rows(
    filelist: FileList,
    journal: FeatureJournal,
    batch_size: int,
    strict: bool,
    pieces: Callable[[list[list[Path]]], Iterator[Piece]],
) -> None:
    """Compute the rows from `journal.done` on and append them piece by piece.

    `pieces` maps batches of paths to pieces in order. With `strict`, an image that cannot be read is an
    `InputError`.
    """
    paths = filelist.paths[journal.done :]
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with bar(len(paths), "features", "images") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, `read_face` reports
        for features, reasons in pieces(batches):
            failed = [place for place, reason in enumerate(reasons) if reason]
            if failed and strict:
                name = filelist.names[journal.done + failed[0]]
                raise InputError(f"{name}: {reasons[failed[0]]}: mend it and run the same command again")
            features[failed] = 0
            if not np.isfinite(features).all():
                row = journal.done + int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
                raise InputError(f"{filelist.names[row]}: the network gives NaN or Inf: check --weights")
            journal.append(
                features,
                [
                    {
                        "row": journal.done + place,
                        "path": filelist.names[journal.done + place],
                        "reason": reasons[place],
                    }
                    for place in failed
                ],
            )
            progress.update(len(reasons))


def feature_maker(crop: str, backbone: Backbone, device: torch.device) -> Compute:
    """A function from image files to their features, float32 (B, dim), and why one could not be read.

    Threads may call it side by side.
    """
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = backbone.network.to(device, dtype).to(memory_format=torch.channels_last)
    size, box = backbone.preprocessing.size, frame_box(crop, backbone.preprocessing.frame)
    mean, scale = (
        np.tile(np.array(values, np.float32), (size, 1))  # a row of pixels: long enough to be quick
        for values in (backbone.preprocessing.mean, backbone.preprocessing.scale)
    )

    def compute(paths: list[Path]) -> tuple[np.ndarray, list[str]]:
        keep_to_one_thread()
        inputs, reasons = np.zeros((len(paths), size, size, 3), np.float32), [""] * len(paths)
        for place, path in enumerate(paths):
            try:
                # One by one, while its pixels are in the processor's cache.
                np.subtract(read_face(path, size, box), mean, out=inputs[place])
                inputs[place] /= scale
            except InputError as reason:
                reasons[place] = str(reason)
        with torch.inference_mode():
            # As channels last, so that nothing is moved.
            pictures = torch.from_numpy(inputs).to(device, dtype).permute(0, 3, 1, 2)
            return network(pictures).float().cpu().numpy(), reasons

    return compute


def refuse_unreadable(unreadable: list[dict[str, Any]], filelist: FileList, strict: bool) -> None:
    """No readable image at all is an error, and any unreadable one with --strict."""
    if len(unreadable) == len(filelist.names):
        what = "no image could be read"
    elif unreadable and strict:
        what = f"{len(unreadable)} images were unreadable (--restart looks at them again)"
    else:
        return
    first = unreadable[0]
    raise InputError(f"{filelist.path}: {what}; the first is {first['path']}: {first['reason']}")
