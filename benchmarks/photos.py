"""How well faces are found and aligned in photos, beside the goals.

    python benchmarks/photos.py                # all of it: a quarter of an hour
    python benchmarks/photos.py sizes rolls

`lfw` aligns the photos of LFW's validation part and clusters the face nearest to the middle of each with all
stages; `mosaic` counts small faces found among many, `sizes` counts faces that fill a photo, `rolls` measures
how far the eyes of turned faces are off, `wider` counts faces of WIDER FACE photos by their height, and
`speed` times photos of 2 megapixels beside the detector's network on the same tensors. Photos are those of
../shared/photos.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import cli
from common.progress import track

import align
import extract
import predict
import proposal
from model.detector import detect, find_detector_weights, load_detector
from pipeline import metrics
from pipeline.files.clusters import read_clusters
from pipeline.files.faces import read_faces
from pipeline.files.filelist import read_filelist
from pipeline.files.labels import read_labels
from pipeline.groups import labels_from_groups
from pipeline.photos.detection import MIN_SCORE, Detect, cut, find_faces, moved
from stages.alignment import choose, encode, photo_aligner

SHARED = Path(__file__).resolve().parents[2] / "shared"
DEFAULTS = vars(align.get_parser().parse_args(["photos"]))
GIVEN = "98.99 / 97.12"  # pairwise / BCubed F of the crops in ../shared/lfw
BACKDROP = (110, 120, 130)
SIDE = 250  # of LFW's photos, the labelled face in the middle
AROUND = 50  # pixels cut off on each side in a mosaic
MIN_IOU = 0.4  # with the labelled box, for a face to count as found
BANDS = (16, 24, 32, 48, 1000)  # heights of faces
Row = tuple[str, str, str]


def find(photo: Image.Image, detector: Detect, **options: float) -> np.ndarray:
    """The faces that alignment would keep of a photo, at its defaults or the options given."""
    run = DEFAULTS | options
    return choose(find_faces(photo, detector, run["min_face"]), photo.size, run)[0]


def middle_face(photo: Image.Image, detector: Detect) -> np.ndarray:
    """The face nearest to the middle of an LFW photo."""
    faces = find(photo, detector)
    return faces[np.hypot(*((faces[:, :2] + faces[:, 2:4] - SIDE) / 2).T).argmin()]


def overlaps(faces: np.ndarray, box: np.ndarray) -> np.ndarray:
    """IoU of the boxes of faces with one box, (n,)."""
    sides = np.minimum(faces[:, 2:4], box[2:4]) - np.maximum(faces[:, :2], box[:2])
    shared = sides.clip(0).prod(axis=1)
    areas = (faces[:, 2:4] - faces[:, :2]).prod(axis=1)
    return shared / (areas + (box[2:4] - box[:2]).prod() - shared)


def lfw_photos(shared: Path, count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Photos of different files, in an order of their own."""
    paths = read_filelist(shared / "photos/lfw_val.txt").paths
    for number in np.random.default_rng(seed).permutation(len(paths))[:count]:
        with Image.open(paths[number]) as photo:
            yield photo.convert("RGB")


def run(stage: ModuleType, *arguments: str | Path) -> None:
    """Run a stage as its command does."""
    assert cli.run(stage.main, stage.get_parser(), [*map(str, arguments), "--quiet"]) == 0


def lfw(shared: Path, _: Detect) -> Iterator[Row]:
    """All stages from LFW's photos, scored as its crops are."""
    labels = read_labels(shared / "photos/lfw_val_labels.txt")
    with tempfile.TemporaryDirectory() as folder:
        faces, listed, features, proposals, clusters = (
            Path(folder, name)
            for name in ("faces", "middle.txt", "feature.bin", "super_vertex", "clusters.txt")
        )
        seconds = -time.perf_counter()
        run(align, shared / "photos/lfw_val.txt", "--output", faces)
        seconds += time.perf_counter()
        entries = read_faces(Path(folder, "faces.json"))["photos"]
        crops, missed, middle = [], 0, np.array([SIDE, SIDE]) / 2
        for entry in entries:
            boxes = np.array([face["box"] for face in entry["faces"]]).reshape(-1, 4)
            distances = np.hypot(*((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).T)
            is_there = len(boxes) > 0 and distances.min() < SIDE / 5
            missed += not is_there
            crops.append(entry["faces"][distances.argmin()]["crop"] if is_there else "missed.png")
        listed.write_text("".join(f"{crop}\n" for crop in crops))
        run(extract, listed, "--output", features)
        run(proposal, "--features", features, "--output", proposals)
        run(predict, "--features", features, "--proposals", proposals, "--output", clusters)
        found = labels_from_groups(read_clusters(clusters), len(labels))
    scores = metrics.evaluate(labels, metrics.own_clusters(found))
    f = f"{100 * scores.pairwise.f:.2f} / {100 * scores.bcubed.f:.2f}"
    yield "LFW, all stages: pairwise / BCubed F", f, f"{GIVEN} less 0.3"
    yield "LFW: photos without their face", str(missed), "0"
    yield "LFW: photos a second", f"{len(entries) / seconds:.1f}", ""


def mosaic(shared: Path, detector: Detect) -> Iterator[Row]:
    """Small faces in mosaics of LFW photos, 1,024 x 1,024."""
    known = [(photo, middle_face(photo, detector)) for photo in lfw_photos(shared, 120)]
    for height in (24, 32, 40):
        boxes, picture, left, top = [], Image.new("RGB", (1024, 1024), BACKDROP), 0, 0
        for photo, face in cycle(known):
            side = round((SIDE - 2 * AROUND) * height / (face[3] - face[1]))
            left, top = (left, top) if left + side <= 1024 else (0, top + 2 * height)
            if top + 2 * height > 1024:
                break
            tile = photo.crop((AROUND, AROUND, SIDE - AROUND, SIDE - AROUND))
            picture.paste(tile.resize((side, side), Image.Resampling.LANCZOS), (left, top))
            scale = side / (SIDE - 2 * AROUND)
            boxes.append((face[:4] - AROUND) * scale + [left, top, left, top])
            left += side
        faces = find(picture, detector, min_face=0.75 * height)
        found = [(overlaps(faces, box) > MIN_IOU).sum() for box in boxes]
        share = f"{100 * np.mean([count > 0 for count in found]):.1f} %"
        yield f"{len(boxes)} faces of {height} pixels in a mosaic: found", share, "95 %"
        yield "found twice", str(sum(count > 1 for count in found)), "0"


def sizes(shared: Path, detector: Detect) -> Iterator[Row]:
    """One face that fills a photo more or less."""
    photos = list(lfw_photos(shared, 8))
    for longest in (1000, 2000, 4000, 6000):
        once, worst = 0, 0.0
        shares = (0.2, 0.4, 0.6, 0.9)
        for photo, share in [(photo, share) for photo in photos for share in shares]:
            face = middle_face(photo, detector)
            scale = longest * share / (face[3] - face[1])
            size = (round(0.8 * longest), longest)
            corner = (face[:2] + face[2:4]) / 2 - np.array(size) / scale / 2
            box = (*corner, *(corner + np.array(size) / scale))
            inside = np.maximum(box[:2], 0), np.minimum(box[2:], SIDE)
            picture = Image.new("RGB", size, BACKDROP)
            sides = np.round((inside[1] - inside[0]) * scale).astype(int)
            part = photo.resize(tuple(sides), Image.Resampling.BICUBIC, (*inside[0], *inside[1]))
            picture.paste(part, tuple(np.round((inside[0] - corner) * scale).astype(int)))
            there = (face[:4] - [*corner, *corner]) * scale
            faces = find(picture, detector)
            faces = faces[overlaps(faces, there) > 0]  # others may be in the background
            once += len(faces) == 1
            worst = (
                max(worst, np.abs(faces[0, :4] - there).max() / (there[3] - there[1])) if len(faces) else 1
            )
        tried = len(photos) * len(shares)
        yield f"a face that fills 20 to 90 % of {longest} pixels: found once", f"{once} of {tried}", "all"
        yield "its box off by at most, of its height", f"{100 * worst:.0f} %", "15 %"


def rolls(shared: Path, detector: Detect) -> Iterator[Row]:
    """Turned LFW photos beside the same photos upright."""
    middle = complex(SIDE, SIDE) / 2
    photos = list(lfw_photos(shared, 16))
    for angle in (0, 15, 30, 45, 60):
        errors, missed = [], 0
        for photo, sign in [(photo, sign) for photo in photos for sign in (-1, 1)]:
            # A wider picture, so that a turned one has no black corners near the face.
            wide = Image.fromarray(np.pad(photo, ((125, 125), (125, 125), (0, 0)), "edge"))
            face = moved(middle_face(photo, detector)[None], 1, complex(125, 125))[0]
            turn = np.exp(-1j * np.radians(sign * angle))
            corner = 2 * middle - turn * 2 * middle
            faces = find(cut(wide, turn, corner, 2 * SIDE), detector)
            there = moved(face[None], 1 / turn, -corner / turn)[0]
            near = np.flatnonzero(overlaps(faces, there[:4]) > MIN_IOU)
            missed += not len(near)
            for number in near[:1]:
                eyes = np.hypot(*(faces[number, 5:9] - there[5:9]).reshape(2, 2).T)
                errors.append(eyes.mean() / np.hypot(*(there[7:9] - there[5:7])))
        off = f"{100 * np.mean(errors):.1f} % (95 % of them {100 * np.quantile(errors, 0.95):.1f} %)"
        yield f"eyes of faces turned by {angle} degrees: off by, of their distance", off, "6 %"
        yield "not found", f"{missed} of {2 * len(photos)}", "0"


def wider(shared: Path, detector: Detect) -> Iterator[Row]:
    """Faces of WIDER FACE photos, by height."""
    boxes: dict[str, list[list[float]]] = {}
    with open(shared / "photos/wider.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            left, top, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
            boxes.setdefault(row["photo"], []).append([left, top, left + width, top + height])
    found, known, right, wrong = np.zeros(4), np.zeros(4), 0, 0
    for name, there in track(sorted(boxes.items()), "looking at", "photos"):
        with Image.open(shared / "photos/wider" / name) as photo:
            faces = find(photo.convert("RGB"), detector, min_face=BANDS[0])
        free = np.ones(len(faces), bool)
        for box in sorted(np.array(there), key=lambda box: box[1] - box[3]):
            distances = np.abs((faces[:, :2] + faces[:, 2:4] - box[:2] - box[2:]) / 2).max(axis=1)
            near = np.flatnonzero(free & (distances < (box[2:] - box[:2]).max() / 2))
            band = np.searchsorted(BANDS, box[3] - box[1], "right") - 1
            if band >= 0:
                known[band] += 1
                found[band] += len(near) > 0
            free[near[distances[near].argsort()][:1]] = False
        right, wrong = right + int((~free).sum()), wrong + int(free.sum())
    for band, (low, high) in enumerate(zip(BANDS, BANDS[1:], strict=False)):
        tall = f"{low} to {high} pixels" if high < BANDS[-1] else f"{low} pixels and more"
        share = f"{100 * found[band] / known[band]:.0f} %"
        yield f"WIDER FACE, {tall}: found of {known[band]:.0f}", share, ""
    yield "of all that is found, a face", f"{100 * right / (right + wrong):.1f} %", ""


def speed(shared: Path, detector: Detect) -> Iterator[Row]:
    """Photos of 1,632 x 1,224 with a dozen faces, from JPEG to crops, and the network alone."""
    import torch

    torch.set_num_threads(1)
    photos, tensors = [], []
    for number in range(8):
        picture = Image.new("RGB", (1632, 1224), BACKDROP)
        for place, photo in enumerate(lfw_photos(shared, 12, seed=number)):
            picture.paste(photo.resize((380, 380)), (20 + place % 4 * 400, 20 + place // 4 * 400))
        photos.append(encode(picture, ".jpg"))

    def noting(pictures: np.ndarray) -> list[np.ndarray]:
        tensors.append(pictures.copy())
        return detector(pictures)

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.jpg") for number in range(len(photos))]
        for path, data in zip(paths, photos, strict=True):
            path.write_bytes(data)
        options = {name: DEFAULTS[name] for name in ("min_face", "min_score", "largest", "turned", "format")}
        compute = photo_aligner(
            options, Path(folder, "faces"), find_detector_weights(), torch.device("cpu"), {}
        )
        whole = quickest(lambda: [compute((path.name, path)) for path in paths])
        for path in paths:
            with Image.open(path) as photo:
                find_faces(photo.convert("RGB"), noting, DEFAULTS["min_face"])
    bare = quickest(lambda: [detector(pictures) for pictures in tensors])
    yield "2 megapixels: photos a second and core", f"{len(paths) / whole:.2f}", ""
    yield "over the bare network on the same tensors", f"{bare / whole:.2f}", "0.8"


def quickest(work: Callable[[], object], runs: int = 3) -> float:
    """Processor seconds of the quickest of a few runs: in one thread, other work on the machine adds none."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


PARTS = {"lfw": lfw, "mosaic": mosaic, "sizes": sizes, "rolls": rolls, "wider": wider, "speed": speed}


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this benchmark."""
    parser = cli.make_parser(
        "photos.py", "Measure how faces are found and aligned.", "  python benchmarks/photos.py sizes rolls"
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", default=list(PARTS), help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds photos/")
    return parser


def main(args: argparse.Namespace) -> None:
    """Print a line of a table for each measurement."""
    network = load_detector(find_detector_weights())

    def detector(pictures: np.ndarray) -> list[np.ndarray]:
        return detect(network, pictures, MIN_SCORE)

    print("| | measured | goal |\n|---|---|---|")
    for part in args.parts:
        for name, measured, goal in PARTS[part](args.shared.resolve(), detector):
            print(f"| {name} | {measured} | {goal} |", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
