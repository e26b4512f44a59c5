"""The real, labelled faces that the benchmarks run on: LFW, eight people of Glint, and their mixes.

A set is one or more of `lfw/train`, `lfw/val` and `glint8`, joined by `+`; the same name is one person
in all of them. Features of the default network are extracted once, into benchmarks/cache. The
networks in weights/ were trained on two feature spaces; two more show how well they serve others:
`both` joins the two, better than either, and `uncropped` is the default network on crops that it was
not made for, which is much worse.

    python benchmarks/datasets.py lfw/train+glint8 --network dlib --output mix.bin

writes mix.bin, mix.json and mix_labels.txt, for `sh run_train.sh --set mix.bin mix_labels.txt`.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from common import cli
from common.errors import InputError, UsageError
from common.progress import log

import extract
from pipeline.files.atomic import whole_file
from pipeline.files.features import feature_json_path, read_features
from pipeline.files.filelist import read_filelist
from pipeline.files.json_object import write_json

SHARED = REPOSITORY.parent / "shared"
CACHE = Path(__file__).resolve().parent / "cache"
NETWORKS = ("dlib", "mobilefacenet")
SPACES = (*NETWORKS, "both", "uncropped")
# Each set's file list, and its features of the second network.
FILES = {
    "lfw/train": ("lfw/train.txt", "lfw/train_mobilefacenet.bin"),
    "lfw/val": ("lfw/val.txt", "lfw/val_mobilefacenet.bin"),
    "glint8": ("glint8/list.txt", "glint8/mobilefacenet.bin"),
}
MOBILEFACENET_DIM = 128
EXAMPLES = "  python benchmarks/datasets.py lfw/train+glint8 --network dlib --output mix.bin"


@dataclass(frozen=True)
class FaceSet:
    """Features of one network, float32 (N, D), with the people, int64 (N,) numbered from 0, and their
    names, str (N,)."""

    name: str
    network: str
    rows: np.ndarray
    labels: np.ndarray
    names: np.ndarray


def add_shared(parser: argparse.ArgumentParser) -> None:
    """The option that says where the faces are."""
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that holds lfw/ and glint8/")


def add_sets(
    parser: argparse.ArgumentParser, sets: tuple[str, ...], spaces: tuple[str, ...] = SPACES
) -> None:
    """The arguments that choose sets, with their default, and one or more of the feature spaces."""
    parser.add_argument("sets", nargs="*", default=sets, metavar="SET", help="sets, joined by + to mix")
    parser.add_argument("--network", choices=spaces, action="append", help="default: dlib and mobilefacenet")
    add_shared(parser)


def load(name: str, network: str, shared: Path = SHARED) -> FaceSet:
    """Read a set or a mix; rows that could not be read are left out.

    Raises `UsageError` for a name there is none of, `InputError` where the files are not there.
    """
    rows, names = [], []
    for part in name.split("+"):
        if part not in FILES:
            raise UsageError(f"{part}: is no set: give {', '.join(FILES)}, joined by +")
        filelist = shared / FILES[part][0]
        if not filelist.exists():
            raise InputError(f"{filelist}: not found: give the folder of the faces with --shared")
        of_part, usable = features_of(part, network, shared)
        people = np.array([Path(line).parent.name for line in read_filelist(filelist).names])
        rows.append(of_part[usable])
        names.append(people[usable])
    people = np.concatenate(names)
    labels = np.unique(people, return_inverse=True)[1]
    return FaceSet(name, network, np.concatenate(rows), labels, people)


@cache
def features_of(part: str, network: str, shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features of one set in one of SPACES, float32 (N, D), and which rows are usable, bool (N,)."""
    if network == "both":
        (first, usable), (second, also) = (features_of(part, name, shared) for name in NETWORKS)
        return np.hstack([unit(first - first[usable].mean(0)), unit(second)]), usable & also
    if network == "mobilefacenet":
        features = read_features(shared / FILES[part][1], MOBILEFACENET_DIM)
    else:
        crop = "none" if network == "uncropped" else "arcface"
        features = read_features(extracted(part, shared / FILES[part][0], network, crop))
    return np.asarray(features.rows), features.usable


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one; zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def extracted(part: str, filelist: Path, name: str, crop: str) -> Path:
    """The default network's features of a set, made by the first stage where they are not there yet."""
    CACHE.mkdir(exist_ok=True)
    output = CACHE / f"{name}_{part.replace('/', '_')}.bin"
    parser = extract.get_parser()
    extract.main(parser.parse_args([str(filelist), "--crop", crop, "--output", str(output)]))
    return output


def get_parser() -> argparse.ArgumentParser:
    """The arguments of this tool."""
    parser = cli.make_parser(
        "datasets.py", "Write a labelled set of real faces as training takes it.", EXAMPLES
    )
    parser.add_argument("name", metavar="SET", help="sets joined by +, such as lfw/train+glint8")
    parser.add_argument("--network", choices=SPACES, default="dlib", help="whose features")
    parser.add_argument(
        "--output", type=Path, required=True, help="features to write; labels lie beside them"
    )
    add_shared(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Load, write features and labels."""
    faces = load(args.name, args.network, args.shared)
    labels_path = write_set(faces, args.output)
    people = faces.labels.max() + 1
    log(f"{args.output}, {labels_path}: {len(faces.rows)} faces of {people} people")


def write_set(faces: FaceSet, output: Path) -> Path:
    """Write features with their JSON, and labels beside them, whose path is returned."""
    with whole_file(output) as part:
        faces.rows.astype("<f4").tofile(part)
    count, dim = faces.rows.shape
    write_json(
        feature_json_path(output),
        {"format": 1, "count": count, "dim": dim, "model": faces.network, "unreadable": []},
    )
    labels_path = output.with_name(f"{output.stem}_labels.txt")
    with whole_file(labels_path) as part:
        np.savetxt(part, faces.labels, "%d")
    return labels_path


if __name__ == "__main__":
    sys.exit(cli.run(main, get_parser()))
