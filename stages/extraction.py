"""Feature extraction: rows of earlier runs are reused for the listed images, the others computed."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import bar, count, warn
from common.threads import in_threads

import numpy as np
import torch

from model.backbones import Backbone
from model.device import keep_to_one_thread
from pipeline.files.features import (
    FEATURE_DTYPE,
    SCAN_ROWS,
    feature_json_path,
    is_doubtful_list,
    is_unreadable_list,
)
from pipeline.files.filelist import FileList
from pipeline.files.image_records import ABSENT, content_of, read_image_records
from pipeline.files.journal import Earlier, FeatureJournal
from pipeline.files.json_object import read_json
from pipeline.images import DOUBTS, cut_face, decode_image, doubts_of, frame_box, read_bytes, read_image

# What feature.json and a journal must agree on with a run for its rows to be reused.
SAME = ("model", "crop", "weights_sha256", "dim")
FIRST = 5  # images of each doubtful kind that are named
# Features, why an image has none (empty where it has one), and of each image the digest of its content and
# its doubts, uint64 (B, 3).
Piece = tuple[np.ndarray, list[str], np.ndarray]
Compute = Callable[[list[Path]], Piece]
Read = tuple[np.ndarray, list[str], np.ndarray]  # as `read_faces` returns it


@dataclass(frozen=True)
class Plan:
    """What to do for each row of a list.

    `source` int64 (N,) is the row of `earlier` (counted over its parts) with the same image; -1
    where it must be computed, or there is no image. `todo` int64 are the rows to compute. `counts` says how
    many images are new, changed, gone and absent.
    """

    earlier: list[Earlier]
    source: np.ndarray
    todo: np.ndarray
    counts: Counter[str]


def finished_run(output: Path, run: dict[str, Any]) -> tuple[dict[str, Any], list[Earlier]]:
    """The JSON of a finished output of the same network, and its rows with their images; or nothing."""
    if not (output.is_file() and feature_json_path(output).is_file()):
        return {}, []
    meta = read_json(feature_json_path(output), "sh run_preprocess.sh FILELIST --restart")
    count, dim = meta.get("count"), run["dim"]
    if not isinstance(count, int) or count < 1 or any(meta.get(name) != run[name] for name in SAME):
        return {}, []
    if output.stat().st_size != count * dim * FEATURE_DTYPE.itemsize:
        return {}, []
    images = read_image_records(output, count, meta.get("images_sha256"))
    if images is None or not is_unreadable_list(meta.get("unreadable")):
        return {}, []
    if not is_doubtful_list(meta.get("doubtful")):
        return {}, []
    return meta, [Earlier(np.memmap(output, FEATURE_DTYPE, "r", shape=(count, dim)), images)]


def differences(stopped: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """The options, in words, that keep this run from continuing a stopped one; the list may differ."""
    words = {"model": "--model {}", "crop": "--crop {}", "device": "--device {}"}
    changed = [
        text.format(stopped.get(name)) for name, text in words.items() if stopped.get(name) != run[name]
    ]
    if stopped.get("weights_sha256") != run["weights_sha256"] and stopped.get("model") == run["model"]:
        changed.append("other --weights")
    return changed


def plan_rows(filelist: FileList, images: np.ndarray, earlier: list[Earlier], first: int = 0) -> Plan:
    """Find the rows of earlier runs that are of the listed images, RECORD (N,), in any order.

    An image is recognized by path, size and time of change, or else by its content. One that no longer
    exists keeps its row; one that could not be read is tried again. Rows before `first`
    are done.
    """
    known = np.concatenate([part.images for part in earlier] or [images[:0]])
    readable = np.flatnonzero(known["content"].any(axis=1))
    source = np.full(len(images), -1)
    of_path, has_path = lookup(known["path"][readable], images["path"])
    candidate = readable[of_path] if len(readable) else of_path
    # For an image that is listed twice, the row at the same place.
    here = np.arange(min(len(known), len(images)))
    here = here[(known["path"][here] == images["path"][here]) & known["content"][here].any(axis=1)]
    candidate[here] = here
    if len(readable):
        found = known[candidate]
        same = (found["size"] == images["size"]) & (found["modified"] == images["modified"])
        source = np.where(has_path & (same | (images["size"] == ABSENT)), candidate, -1)
    # An unknown path with the size of a known image may be that image, moved or touched.
    likely = np.flatnonzero((source < 0) & np.isin(images["size"], known["size"][readable]))
    likely = likely[(likely >= first) & (images["size"][likely] != ABSENT)]
    with bar(len(likely), "comparing images", "images") as progress:
        paths = [filelist.paths[row] for row in likely.tolist()]
        for row, content in zip(likely.tolist(), in_threads(content_of_file, paths), strict=True):
            progress.update()
            if content is not None:
                images["content"][row] = content
    place, is_known = lookup(known["content"][readable, 0], images["content"][likely, 0])
    if len(readable):
        match = readable[place]
        is_known &= (known["content"][match] == images["content"][likely]).all(axis=1)
        source[likely[is_known]] = match[is_known]
    for field in ("content", "doubts"):
        images[field][source >= 0] = known[field][source[source >= 0]]
    todo = np.flatnonzero((source < 0) & (images["size"] != ABSENT))
    kept = np.zeros(len(known), bool)
    kept[source[source >= 0]] = True
    counts = Counter(
        new=int((~has_path[todo]).sum()),
        changed=int(has_path[todo].sum()),
        gone=int((~kept & ~np.isin(known["path"], images["path"])).sum()),
        reused=int((source >= 0).sum()),
        absent=int(((source >= 0) & (images["size"] == ABSENT)).sum()),
    )
    return Plan(earlier, source, todo[todo >= first], counts)


def lookup(values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of each wanted number in `values`, int64, 0 where there is none, and whether there is one."""
    if not len(values):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    order = np.argsort(values, kind="stable")
    place = order[np.minimum(np.searchsorted(values[order], wanted), len(values) - 1)]
    return place, values[place] == wanted


def content_of_file(path: Path) -> tuple[int, int] | None:
    """The digest of a file's content, None where it cannot be read."""
    try:
        return content_of(read_bytes(path))
    except InputError:
        return None


def write_rows(
    filelist: FileList,
    images: np.ndarray,
    plan: Plan,
    journal: FeatureJournal,
    batch_size: int,
    strict: bool,
    pieces: Callable[[list[list[Path]]], Iterator[Piece]],
) -> None:
    """Append the rows from `journal.done` on, piece by piece: those of earlier runs, and those computed.

    `pieces` maps batches of paths to pieces in order. With `strict`, an image that cannot be read is an
    `InputError`.
    """
    batches = batches_of(plan.todo, batch_size)
    paths = [[filelist.paths[row] for row in batch.tolist()] for batch in batches]
    with bar(len(plan.todo), "features", "images") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, reading reports
        for batch, (features, reasons, seen) in zip(batches, pieces(paths), strict=True):
            append_earlier(filelist, images, plan, journal, int(batch[0]))
            failed = [place for place, reason in enumerate(reasons) if reason]
            if failed and strict:
                name = filelist.names[batch[failed[0]]]
                raise InputError(f"{name}: {reasons[failed[0]]}: mend it and run the same command again")
            features[failed] = 0
            if not np.isfinite(features).all():
                row = batch[np.flatnonzero(~np.isfinite(features).all(axis=1))[0]]
                raise InputError(f"{filelist.names[row]}: the network gives NaN or Inf: check --weights")
            images["content"][batch], images["doubts"][batch] = seen[:, :2], seen[:, 2]
            append_earlier(
                filelist,
                images,
                plan,
                journal,
                int(batch[-1]) + 1,
                (batch, features),
                {int(row): reason for row, reason in zip(batch, reasons, strict=True) if reason},
            )
            progress.update(len(batch))
        append_earlier(filelist, images, plan, journal, len(images))


def batches_of(todo: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Rows to compute, ascending, in batches that span at most SCAN_ROWS of the list, to bound the memory."""
    return [
        part[start : start + batch_size]
        for part in np.split(todo, np.flatnonzero(np.diff(todo // SCAN_ROWS)) + 1)
        for start in range(0, len(part), batch_size)
    ]


def append_earlier(
    filelist: FileList,
    images: np.ndarray,
    plan: Plan,
    journal: FeatureJournal,
    end: int,
    computed: tuple[np.ndarray, np.ndarray] | None = None,
    reasons: dict[int, str] | None = None,
) -> None:
    """Append the rows from `journal.done` to `end`: of earlier runs, those `computed` just now, the rows
    with their features, and zeros for the others, which have no image."""
    while journal.done < end:
        rows = np.arange(journal.done, min(end, journal.done + SCAN_ROWS))
        features = np.zeros((len(rows), journal.dim), np.float32)
        first = 0
        for part in plan.earlier:
            here = (plan.source[rows] >= first) & (plan.source[rows] < first + len(part.rows))
            features[here] = part.rows[plan.source[rows[here]] - first]
            first += len(part.rows)
        if computed:
            features[computed[0] - rows[0]] = computed[1]
        missing = rows[(plan.source[rows] < 0) & (images["size"][rows] == ABSENT)]
        why = dict.fromkeys(missing.tolist(), "not found") | (reasons or {})
        unreadable = [{"row": row, "path": filelist.names[row], "reason": why[row]} for row in sorted(why)]
        journal.append(features, images[rows], unreadable)


@dataclass(frozen=True)
class FeatureMaker:
    """From image files to their features in two steps: `read`, in which the network has no part, so that
    processes without a GPU can do it, and `infer`. Threads may call it at the same time."""

    read: Callable[[list[Path]], Read]
    infer: Callable[[Read], Piece]

    def __call__(self, paths: list[Path]) -> Piece:
        """The features, float32 (B, dim), the reason why an image could not be read, and digests of their
        content with their doubts, uint64 (B, 3)."""
        return self.infer(self.read(paths))


def feature_maker(crop: str, backbone: Backbone, device: torch.device) -> FeatureMaker:
    """How the images of crops aligned one way become features by a network on a device."""
    frame = frame_box(crop, backbone.preprocessing.frame)
    read = partial(read_faces, size=backbone.preprocessing.size, box=frame)
    return FeatureMaker(read, network_of(backbone, device))


def read_faces(paths: list[Path], size: int, box: tuple[float, float, float, float]) -> Read:
    """The pixels of the faces that can be read, uint8 (n, size, size, 3), the reason why each of the others
    cannot, and what was seen of all, as `FeatureMaker` gives it."""
    faces, reasons = [], [""] * len(paths)
    seen = np.zeros((len(paths), 3), np.uint64)
    for place, path in enumerate(paths):
        try:
            data = read_bytes(path)
            image = decode_image(data)
            seen[place] = *content_of(data), doubts_of(image)
            faces.append(cut_face(image, size, box))
        except InputError as reason:
            reasons[place], seen[place] = str(reason), 0
    return np.stack(faces) if faces else np.empty((0, size, size, 3), np.uint8), reasons, seen


def network_of(backbone: Backbone, device: torch.device) -> Callable[[Read], Piece]:
    """A function from what `read_faces` gives to features; zeros for an image that could not be read."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    network = backbone.network.to(device, dtype).to(memory_format=torch.channels_last)
    size = backbone.preprocessing.size
    mean, scale = (
        torch.tensor(values, dtype=torch.float32).tile(size).to(device)  # of a row: long enough to be quick
        for values in (backbone.preprocessing.mean, backbone.preprocessing.scale)
    )

    def infer(read: Read) -> Piece:
        keep_to_one_thread()
        pixels, reasons, seen = read
        features = np.zeros((len(reasons), backbone.dim), np.float32)
        if len(pixels):
            readable = [place for place, reason in enumerate(reasons) if not reason]
            with torch.inference_mode():
                lines = torch.from_numpy(pixels).to(device).view(-1, size, 3 * size).float()
                inputs = lines.sub_(mean).div_(scale).view(-1, size, size, 3).to(dtype)
                # As channels last, so that nothing is copied.
                features[readable] = network(inputs.permute(0, 3, 1, 2)).float().cpu().numpy()
        return features, reasons, seen

    return infer


def is_unchanged(plan: Plan, finished: dict[str, Any], filelist: FileList) -> bool:
    """Whether a finished run has the rows of this list in its order, except images still unreadable."""
    rows = np.arange(len(filelist.names))
    if finished["count"] != len(rows) or not ((plan.source == rows) | (plan.source < 0)).all():
        return False
    unreadable = {entry["row"]: entry["path"] for entry in finished["unreadable"]}
    left = rows[plan.source < 0].tolist()
    return len(left) == len(unreadable) and all(
        unreadable.get(row) == filelist.names[row] and not is_readable(filelist.paths[row]) for row in left
    )


def doubtful(images: np.ndarray, filelist: FileList) -> list[dict[str, Any]]:
    """For each of DOUBTS that some images give, their number and the first, for `feature.json`."""
    found = []
    for bit, words in DOUBTS.items():
        rows = np.flatnonzero((images["doubts"] & bit) > 0).tolist()
        if rows:
            first = [filelist.names[row] for row in rows[:FIRST]]
            found.append({"what": words, "count": len(rows), "first": first})
    return found


def known_unaligned(finished: dict[str, Any]) -> list[dict[str, Any]]:
    """What a finished run says of a sample of the images that is not aligned."""
    return [kind for kind in finished.get("doubtful", []) if "of" in kind]


def warn_of_doubtful(found: list[dict[str, Any]]) -> None:
    """Warn of each kind of doubtful crops, which spoil the result."""
    for kind in found:
        if "of" in kind:
            warn(
                f"{kind['count']} of {count(kind['of'], 'image')} looked at {kind['what']}, which spoils the "
                f"result, the first is {kind['first'][0]}: give photos to `sh run_align.sh PHOTOS`, or say "
                "how the crops are aligned"
            )
        else:
            are = "image is" if kind["count"] == 1 else "images are"
            warn(
                f"{kind['count']} {are} {kind['what']}, the first is {kind['first'][0]}: people may be mixed "
                "up: give crops of one aligned face each, as `sh run_align.sh` makes them"
            )


def is_readable(path: Path) -> bool:
    """Whether an image can be read now."""
    try:
        read_image(path)
    except InputError:
        return False
    return True


def counted(plan: Plan, before: int) -> str:
    """In words, how many images were new, changed, gone and reused."""
    counts = plan.counts
    words = [f"{counts['new']} new", f"{counts['changed']} changed", f"{counts['gone']} gone"]
    words += [f"{counts['reused']} used again"]
    if before:
        words.append(f"{before} from a stopped run")
    if counts["absent"]:
        words.append(f"{counts['absent']} not there now, their features kept")
    return ", ".join(words)


def unreadable_in_words(unreadable: list[dict[str, Any]], output: Path) -> str:
    """How many images could not be read, and where they are listed."""
    where = f", listed in {feature_json_path(output)}" if unreadable else ""
    return f"{len(unreadable)} of them unreadable{where}"


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
