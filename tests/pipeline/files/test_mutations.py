"""Files damaged in hundreds of ways, the same in every run: a reader says one line or reads what is sane."""

import json
import shutil
from functools import partial
from pathlib import Path

from common import cli
from common.errors import FaultError
from common.progress import set_quiet

import numpy as np
import pytest
from conftest import LazyModule, make_people
from PIL import Image

import proposal
from pipeline.corrections.said import load_corrections, save_corrections
from pipeline.files.clusters import read_cluster_json, read_clusters
from pipeline.files.corrections import corrections_json
from pipeline.files.faces import faces_of_crops
from pipeline.files.features import read_features
from pipeline.files.filelist import filelist_of_features, read_filelist
from pipeline.files.labels import read_labels
from pipeline.files.proposals import read_super_vertex
from pipeline.images import read_image

torch, gcn, weights = LazyModule("torch"), LazyModule("model.gcn"), LazyModule("model.weights")
judges, training = LazyModule("stages.judges"), LazyModule("stages.training")

CASES = 200
ROUND = "round_007"
HEADS = (b"PK\x03\x04", b"\x80\x04\x95", b"\x80\x02", b"\x93NUMPY\x01\x00", b"\xff\xd8\xff", b"", b"\0" * 16)
ODD = (None, True, -1, 2**70, 1e308, float("nan"), "", "x", "\ud800", [], [1], [None], {}, {"a": 1}, [[0]])


def damaged(data, rng):
    """The bytes with one thing wrong, more often near the start, where headers are."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 300)
    at, length = int(rng.integers(0, max(end, 1))), int(rng.integers(1, 12))
    noise = rng.integers(0, 256, length, np.uint8).tobytes()
    return [
        lambda: data[:at] + noise[:1] + data[at + 1 :],
        lambda: data[:at] + noise + data[at + length :],
        lambda: data[:at] + noise + data[at:],
        lambda: data[:at] + data[at + length :],
        lambda: data[:at],
        lambda: data + noise,
        lambda: data[:at] + data[at : at + length] * 3 + data[at + length :],
        lambda: data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :],
        lambda: HEADS[length % len(HEADS)] + data[length:],
    ][int(rng.integers(9))]()


def restructured(data, rng):
    """The JSON with another value in one place, or a key less or more."""
    whole = json.loads(data)
    places = [(whole, key) for key in whole]
    for container, key in places:
        inner = container[key]
        if isinstance(inner, dict | list) and len(places) < 200:
            places += [(inner, key) for key in (inner if isinstance(inner, dict) else range(len(inner)))]
    container, key = places[int(rng.integers(len(places)))]
    kind = rng.random()
    if kind < 0.2:
        del container[key]
    elif kind < 0.3 and isinstance(container, dict):
        container["more"] = 1
    else:
        container[key] = ODD[int(rng.integers(len(ODD)))]
    return json.dumps(whole).encode()


@pytest.fixture(scope="module")
def whole(made_once, tmp_path_factory):
    """A folder with a whole file of every kind, small ones."""
    folder = tmp_path_factory.mktemp("whole") / "files"
    shutil.copytree(made_once, folder)
    options = ["--features", folder / "feature.bin", "--output", folder / "super_vertex", "--rounds", "3"]
    assert cli.run(proposal.main, proposal.get_parser(), [*map(str, options), "--quiet"]) == 0
    set_quiet(False)
    assert all(np.load(path).size for path in (folder / "super_vertex" / ROUND).iterdir())
    rows = make_people(people=20, images=10).rows
    for size in (2, 4, 8):
        np.save(folder / f"float{8 * size}.npy", rows.astype(f"<f{size}"))
    names = [f"{row}.jpg" for row in range(len(rows))]
    (folder / "list.txt").write_text("\n".join(names))
    (folder / "labels.txt").write_text("".join(f"{row % 7}\n" for row in range(len(rows))))
    meta = json.loads((folder / "feature.json").read_text()) | {
        "filelist": str(folder / "list.txt"),
        "unreadable": [{"row": 3, "path": "3.jpg", "reason": "not found"}],
    }
    (folder / "feature.json").write_text(json.dumps(meta))
    features = read_features(folder / "feature.bin")
    usable = [int(row) for row in np.flatnonzero(features.usable)[:6]]
    said = {
        "format": 1,
        "network": {},
        "faces": [{"row": row, "name": names[row], "sketch": "AAAAAAAAAAAAAAAA"} for row in usable],
        "people": [{"name": "Anna", "parts": [usable[:2], usable[2:3]]}],
        "apart": [{"face": usable[3], "person": usable[:2]}],
    }
    (folder / "corrections.json").write_text(json.dumps(said))
    kept = save_corrections(load_corrections(folder / "corrections.json", features, names), features, names)
    (folder / "corrections.json").write_text(json.dumps(corrections_json(kept)))
    tensors = {"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3)}
    torch.save(tensors, folder / "zip.pth")
    torch.save(tensors, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    shutil.copy(Path(__file__).parents[3] / "weights" / "gcn_d.safetensors", folder)
    training.save_progress(
        folder / "checkpoint.pt", {"key": "k", "folds": [{"gcn_d": tensors}], "state": None}
    )
    tensor = b"\x01\x02" + b"".join(b"\x01" + bytes([size]) for size in (2, 1, 1, 3)) + bytes(24)
    (folder / "dlib.dat").write_bytes(b"head\x01\x05con_4" + tensor + b"\x01\x07affine_" + tensor)
    crop = {"crop": "0.jpg", "sha256": "0", "box": [1, 2, 30, 40]}
    photos = [
        {"photo": "a.jpg", "sha256": "0", "size": [60, 80], "faces": [crop]},
        {"photo": "b", "reason": "c"},
    ]
    (folder / "list.json").write_text(json.dumps({"format": 1, "photos": photos}))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8))
    for suffix in ("jpg", "png", "tif", "webp", "bmp"):
        picture.save(folder / f"picture.{suffix}")
    return folder


def super_vertex(folder):
    return read_super_vertex(folder / "super_vertex", read_features(folder / "feature.bin"))


def corrections(folder):
    features = read_features(folder / "feature.bin")
    filelist = filelist_of_features(features.meta)
    return load_corrections(folder / "corrections.json", features, filelist.names if filelist else None)


def no_array(folder):
    """Not one damaged array is read."""
    super_vertex(folder)
    raise AssertionError("a damaged array was read")


READERS = {
    "feature.bin": lambda folder: read_features(folder / "feature.bin"),
    "feature.json": corrections,
    "float16.npy": lambda folder: read_features(folder / "float16.npy"),
    "float32.npy": lambda folder: read_features(folder / "float32.npy"),
    "float64.npy": lambda folder: read_features(folder / "float64.npy"),
    "super_vertex/manifest.json": super_vertex,
    "super_vertex/neighbors.npy": no_array,
    "super_vertex/similarities.npy": no_array,
    "super_vertex/round_006/members.npy": no_array,
    "super_vertex/round_006/offsets.npy": no_array,
    "super_vertex/round_006/repeats.npy": no_array,
    "clusters.txt": lambda folder: read_clusters(folder / "clusters.txt", 202),
    "clusters.json": lambda folder: read_cluster_json(folder / "clusters.txt"),
    "corrections.json": corrections,
    "labels.txt": lambda folder: read_labels(folder / "labels.txt"),
    "list.txt": lambda folder: read_filelist(folder / "list.txt"),
    "list.json": lambda folder: faces_of_crops(folder / "list.txt"),
    "zip.pth": lambda folder: weights.read_state_dict(folder / "zip.pth"),
    "legacy.pt": lambda folder: weights.read_state_dict(folder / "legacy.pt"),
    "gcn_d.safetensors": lambda folder: gcn.load_networks(
        folder, gcn.GCND, *judges.measures_of(gcn.GCND), torch.device("cpu")
    ),
    "checkpoint.pt": lambda folder: training.load_progress(folder / "checkpoint.pt", "k"),
    "dlib.dat": lambda folder: list(weights.read_dlib_layers(folder / "dlib.dat")),
    **{
        f"picture.{suffix}": partial(lambda name, folder: read_image(folder / name), f"picture.{suffix}")
        for suffix in ("jpg", "png", "tif", "webp", "bmp")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_one_line_or_sane(whole, name):
    path, rng = whole / name, np.random.default_rng(sum(name.encode()))
    data = path.read_bytes()
    refused = 0
    try:
        for number in range(CASES):
            other = restructured(data, rng) if path.suffix == ".json" and number % 2 else damaged(data, rng)
            if other == data:
                continue
            path.write_bytes(other)
            try:
                READERS[name](whole)
            except FaultError as fault:
                assert len(" ".join(str(fault).split())) > 5
                refused += 1
    finally:
        path.write_bytes(data)
    if not name.startswith("picture") and name not in ("labels.txt", "list.txt", "list.json"):
        assert refused > CASES / 10
