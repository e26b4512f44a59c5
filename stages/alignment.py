"""Alignment of photos: the faces of a photo, what may be reused of earlier runs, and the summary."""

import hashlib
import importlib.util
import io
import os
import shutil
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.progress import bar
from common.threads import in_threads

import numpy as np
import torch
from PIL import Image

from model.detector import FILE, PACKAGE, detect, load_detector
from model.weights import find_in_package
from pipeline.files.atomic import digest_file, part_path
from pipeline.files.faces import Entry, beside, journal_path, read_faces, read_journal
from pipeline.files.filelist import FileList
from pipeline.images import MAX_PIXELS_OF_PHOTO, decode_image, frame_box, read_bytes, read_face
from pipeline.photos.alignment import SIDE, align, is_in_place, roll, sharpness, yaw
from pipeline.photos.detection import MIN_SCORE, find_faces, heights
from stages.extraction import FIRST, warn_of_doubtful

LARGE = 24_000_000  # pixels: threads take turns with photos above this, as each needs 0.5 GB or more
LEFT_OUT = {
    "small": "under {min_face} pixels",
    "unlikely": "under a score of {min_score:g}",
    "cut_off": "cut off at the border",
    "not_largest": "not the largest",
}
SAMPLE = 24  # images looked at to see whether they are aligned
MIN_ALIGNED = 0.5  # share of the sample: all crops of LFW and glint8 are, drawn faces too, no photo is
STEM = 40  # letters of a photo's name that the names of its crops keep
VERSION = 1  # of the way faces are found and aligned: faces of another version are not reused

Known = dict[tuple[str, str], Entry]
Aligned = tuple[Entry, dict[str, bytes]]


def known_photos(output: Path, run: dict[str, Any]) -> tuple[list[Entry], Known]:
    """The entries of a finished run of these options, and all photos that it or a stopped one has done.

    Raises `InputError` where a stopped run had other options.
    """
    path = beside(output, ".json")
    meta = read_faces(path) if path.exists() else {}
    finished = meta["photos"] if meta.get("made_with") == run else []
    stopped, entries = read_journal(journal_path(output))
    if entries and stopped != run:
        said = ", ".join(
            f"--{name.replace('_', '-')} {stopped.get(name)}"
            for name in run
            if stopped.get(name) != run[name]
        )
        raise InputError(
            f"{output}: a stopped run has aligned {len(entries)} photos with {said}: "
            "repeat that run to go on with it, or begin anew with --restart"
        )
    done = [entry for entry in finished + entries if "sha256" in entry]
    return finished, {(entry["photo"], entry["sha256"]): entry for entry in done}


def align_photos(
    output: Path,
    photos: list[Path],
    compute: Callable[[tuple[str, Path]], Aligned],
    known: Known,
    journal: Callable[[Entry], None],
    workers: int | None,
) -> tuple[list[Entry], int]:
    """Align photos and keep their crops at `part_path(output)`; their entries, and how many are new.

    Of photos with the same bytes only the first counts.
    """
    entries: list[Entry] = []
    first_of: dict[str, str] = {}
    fresh = 0
    named = [(photo_name(path, output), path) for path in photos]
    with bar(len(photos), "aligning", "photos") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all threads: what Pillow warns of, `decode_image` reports
        for photo, (entry, crops) in zip(named, in_threads(compute, named, workers), strict=True):
            digest = entry.get("sha256")
            if digest and "faces" not in entry and digest not in first_of:  # its original is gone
                del known[photo[0], digest]
                entry, crops = compute(photo)
            if digest and first_of.setdefault(digest, photo[0]) != photo[0]:
                crops, first = {}, first_of[digest]
                entry = {"photo": photo[0], "sha256": digest, "reason": f"the same photo as {first}"}
            for name, data in crops.items():
                (part_path(output) / name).write_bytes(data)
            if digest and known.get((photo[0], digest)) != entry:
                journal(entry)
                fresh += 1
            entries.append(entry)
            progress.update()
    return entries, fresh


def photo_name(path: Path, output: Path) -> str:
    """The name of a photo: its path relative to the output's folder if it lies below that, else absolute."""
    here, place = output.absolute().parent, path.absolute()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


def photo_aligner(
    run: dict[str, Any], output: Path, weights: Path, device: torch.device, known: Known
) -> Callable[[tuple[str, Path]], Aligned]:
    """A function from a photo's name and place to its entry, and the crops that are not on disk, by name.

    Threads may call it at the same time.
    """
    network = load_detector(weights).to(device)
    one_large = threading.Lock()
    turns = (0, 1, 2, 3) if run["turned"] else (0,)

    def find(pictures: np.ndarray) -> list[np.ndarray]:
        return detect(network, pictures, MIN_SCORE)

    def compute(photo: tuple[str, Path]) -> Aligned:
        name, path = photo
        try:
            data = read_bytes(path)
            digest = hashlib.sha256(data).hexdigest()
            entry = known.get((name, digest))
            if entry and has_crops(entry, output):
                return entry, {}
            with one_large if pixels_of(data) > LARGE else nullcontext():
                image = decode_image(data, MAX_PIXELS_OF_PHOTO)
                del data
                rows = find_faces(image, find, run["min_face"], turns)
                faces, left_out = choose(rows, image.size, run)
                described, crops = align_faces(image, faces, crop_name(path, digest, output, run["format"]))
        except InputError as reason:
            return {"photo": name, "reason": str(reason)}, {}
        entry = {"photo": name, "sha256": digest, "size": list(image.size), "faces": described}
        if any(left_out.values()):
            entry["left_out"] = left_out
        if not described:
            whys = [LEFT_OUT[why].format(**run) for why, count in left_out.items() if count]
            entry["reason"] = f"all its faces are {' or '.join(whys)}" if whys else "no face found"
        return entry, crops

    return compute


def pixels_of(data: bytes) -> int:
    """The number of pixels of a photo by its header, 0 where that cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width * image.height
    except Exception:  # decoding tells what is wrong
        return 0


def choose(rows: np.ndarray, size: tuple[int, int], run: dict[str, Any]) -> tuple[np.ndarray, dict[str, int]]:
    """The faces that the options ask for, from left to right, and the number of others by reason.

    `size` is the photo's width and height. A face is whole where all its landmarks lie in the photo.
    """
    points = rows[:, 5:].reshape(-1, 5, 2)
    is_whole = ((points >= 0) & (points < size)).all(axis=(1, 2))
    is_likely = rows[:, 4] >= run["min_score"]
    is_tall = heights(rows) >= run["min_face"]
    faces = rows[is_whole & is_likely & is_tall]
    left_out = {
        "small": int((is_likely & ~is_tall).sum()),
        "unlikely": int((is_tall & ~is_likely).sum()),
        "cut_off": int((is_tall & is_likely & ~is_whole).sum()),
    }
    if run["largest"]:
        left_out["not_largest"] = max(0, len(faces) - 1)
        faces = faces[np.argsort(-heights(faces), kind="stable")[:1]]
    return faces[np.lexsort((faces[:, 1], faces[:, 0]))], left_out


def crop_name(path: Path, digest: str, output: Path, kind: str) -> str:
    """The name of a photo's crops in the file list, with `{}` for the number of the face.

    It has the digest of the photo, so that photos of the same name in different folders do not collide.
    """
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in path.stem)[:STEM]
    return f"{output.name}/".replace("{", "{{").replace("}", "}}") + f"{stem}-{digest[:12]}-{{}}.{kind}"


def align_faces(
    image: Image.Image, faces: np.ndarray, name: str
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The description of each face, and their crops as bytes of files by name."""
    described, crops = [], {}
    for number, face in enumerate(faces, 1):
        landmarks = face[5:].reshape(5, 2)
        crop = align(image, landmarks)
        data = encode(crop, Path(name).suffix)
        crops[Path(name).name.format(number)] = data
        described.append(
            {
                "crop": name.format(number),
                "sha256": hashlib.sha256(data).hexdigest(),
                "box": rounded(face[:4], 1),
                "landmarks": [rounded(point, 2) for point in landmarks],
                "score": round(float(face[4]), 3),
                "height": round(float(face[3] - face[1]), 1),
                "sharpness": round(sharpness(crop), 1),
                "yaw": round(yaw(landmarks), 1),
                "roll": round(roll(landmarks), 1),
            }
        )
    return described, crops


def encode(crop: Image.Image, suffix: str) -> bytes:
    """A crop as the bytes of a JPEG or PNG file, without its photo's metadata."""
    file = io.BytesIO()
    if suffix == ".png":
        crop.save(file, "PNG")
    else:
        crop.save(file, "JPEG", quality=95, subsampling=0)  # with so few pixels, colour matters
    return file.getvalue()


def rounded(values: np.ndarray, digits: int) -> list[float]:
    """Rounded numbers for JSON."""
    return [round(float(value), digits) for value in values]


def has_crops(entry: Entry, output: Path) -> bool:
    """Whether all crops of an entry are on disk as they were written; those of a finished run are linked
    into the new folder."""
    work = part_path(output)
    for face in entry.get("faces", []):
        name = Path(face["crop"]).name
        place = next((folder / name for folder in (work, output) if (folder / name).is_file()), None)
        if place is None or digest_file(place) != face["sha256"]:
            return False
        if place.parent != work:
            try:
                os.link(place, work / name)
            except OSError:  # some file systems have no hard links
                shutil.copyfile(place, work / name)
    return True


def summary(entries: list[Entry], run: dict[str, Any]) -> str:
    """The numbers of faces and photos, and of all that was left out, by reason."""
    faces = sum(len(entry.get("faces", [])) for entry in entries)
    left_out = {why: sum(entry.get("left_out", {}).get(why, 0) for entry in entries) for why in LEFT_OUT}
    parts = {
        "without a face": sum(entry.get("faces") == [] for entry in entries),
        "unreadable": sum("sha256" not in entry for entry in entries),
        "copies of others": sum("faces" not in entry and "sha256" in entry for entry in entries),
    }
    photos = [f"{count} {what}" for what, count in parts.items() if count]
    others = [f"{count} {LEFT_OUT[why].format(**run)}" for why, count in left_out.items() if count]
    return (
        f"{faces} faces of {len(entries)} photos"
        + (f" ({', '.join(photos)})" if photos else "")
        + (f", left out {', '.join(others)}" if others else "")
    )


def find_unaligned(filelist: FileList, crop: str) -> list[dict[str, Any]]:
    """What `feature.json` tells where most of a small sample of crops show no face at the place that `crop`
    says; nothing where they do, or where the detector's packages are not there. Says it on stderr as well.
    """
    weights = find_in_package(PACKAGE, FILE)
    if weights is None or importlib.util.find_spec("onnx") is None or crop == "none":
        return []
    network = load_detector(weights)
    frame = frame_box(crop, "arcface")
    seen = 0
    unaligned = []
    for row in range(0, len(filelist.paths), -(-len(filelist.paths) // SAMPLE)):
        with suppress(InputError):  # extraction tells of it
            faces = detect(network, read_face(filelist.paths[row], SIDE, frame)[None], MIN_SCORE)[0]
            seen += 1
            if not any(is_in_place(face[5:].reshape(5, 2)) for face in faces):
                unaligned.append(filelist.names[row])
    if len(unaligned) <= (1 - MIN_ALIGNED) * seen:
        return []
    what = f"show no face aligned as --crop {crop} says"
    found = {"what": what, "count": len(unaligned), "of": seen, "first": unaligned[:FIRST]}
    warn_of_doubtful([found])
    return [found]
