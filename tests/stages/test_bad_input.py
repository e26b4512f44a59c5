"""Every kind of bad input: one clear line on stderr, the right exit code, and nothing written.

Images that cannot be read are in test_images.py and test_extract.py, networks' weights in
test_weights.py and test_gcn.py.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Ended, LazyModule, draw_images
from PIL import Image
from safetensors import safe_open

from pipeline.files.atomic import digest_file, part_path

problems, safetensors = LazyModule("pipeline.training.problems"), LazyModule("safetensors.torch")
USAGE, INPUT, ENVIRONMENT = 2, 3, 4
PROPOSAL, PREDICT = ("proposal",), ("predict", "--output", "new.txt")
EVALUATE, EXPORT = ("evaluate", "clusters.txt", "labels.txt"), ("export", "--to", "csv")


def refused(ended, code, *words):
    """Ended with this code and one line that holds the words."""
    assert ended.code == code, ended
    line = ended.err.strip().splitlines()[-1]
    assert "error: " in line and "Traceback" not in ended.err
    assert ended.err.count("\n") == 1 and ended.err.count("error: ") == 1
    for word in words:
        assert word in line


def edit_json(path, **changes):
    path = Path(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_rows(change):
    rows = np.fromfile("feature.bin", "<f4").reshape(-1, 64)
    change(rows)
    rows.tofile("feature.bin")


def set_row(row, value):
    return lambda: edit_rows(lambda rows: rows.__setitem__(row, value))


def truncate(path, count=7):
    return lambda: os.truncate(path, os.path.getsize(path) - count)


def replace_array(path, change):
    """Another array with its digest in the manifest, so that its values must be looked at."""

    def apply():
        np.save(path, change(np.load(path)))
        digests = json.loads(Path("super_vertex/manifest.json").read_text())["sha256"]
        digests[str(Path(path).relative_to("super_vertex"))] = digest_file(Path(path))
        edit_json("super_vertex/manifest.json", sha256=digests)

    return apply


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def damage(path, back=1):
    """Change the lowest bit of a byte of the last value."""

    def apply():
        data = bytearray(Path(path).read_bytes())
        data[-4 * back] ^= 1
        Path(path).write_bytes(data)

    return apply


FEATURES = {
    "missing": (lambda: os.remove("feature.bin"), "feature.bin: not found"),
    "empty": (lambda: os.truncate("feature.bin", 0), "feature.bin: is empty"),
    "no multiple of the row": (truncate("feature.bin"), "no multiple of 256"),
    "a row short": (truncate("feature.bin", 256), "rows but feature.json says"),
    "a folder": (lambda: (os.remove("feature.bin"), os.mkdir("feature.bin")), "is not a regular file"),
    "a fifo": (lambda: (os.remove("feature.bin"), os.mkfifo("feature.bin")), "is not a regular file"),
    "NaN": (set_row(5, np.nan), "row 5 holds NaN or Inf"),
    "Inf": (set_row(7, np.inf), "row 7 holds NaN or Inf"),
    "json truncated": (truncate("feature.json"), "feature.json: is no JSON file"),
    "json of another run": (
        lambda: edit_json("feature.json", feature_sha256="0" * 64),
        "feature.json: is of another file than feature.bin as it is now",
    ),
    "json a fifo": (
        lambda: (os.remove("feature.json"), os.mkfifo("feature.json")),
        "feature.json: is not a regular file",
    ),
    "json a list": (lambda: Path("feature.json").write_text("[]"), "holds no JSON object"),
    "json without dim": (lambda: edit_json("feature.json", dim=None), "`dim` is damaged"),
    "json of another dim": (lambda: edit_json("feature.json", dim=32), "rows but feature.json says"),
    "json is deep": (lambda: Path("feature.json").write_text("[" * 100_000), "is no JSON file"),
    "no json and no dim": (lambda: os.remove("feature.json"), "give its row length with --dim"),
}


@pytest.mark.parametrize("command", [PROPOSAL, PREDICT], ids=lambda command: command[0])
@pytest.mark.parametrize("case", FEATURES)
def test_features(made, stage, command, case):
    spoil, words = FEATURES[case]
    spoil()
    refused(stage(*command), INPUT, words)
    assert not Path("new.txt").exists()


def test_features_of_zeros_alone(made, stage):
    edit_rows(lambda rows: rows.fill(0))
    refused(stage("proposal"), INPUT, "every row is zeros")


def test_dim_against_the_json(made, stage):
    refused(stage("proposal", "--dim", "32"), INPUT, "--dim is 32 but feature.json says 64")


ROUND = "super_vertex/round_071"  # of made_once, one that has proposals and repeats
PROPOSALS = {
    "missing": (lambda: shutil.rmtree("super_vertex"), "super_vertex: not found: run `sh run_proposal.sh`"),
    "of other features": (set_row(0, 1.0), "was made from other features"),
    "no manifest": (lambda: os.remove("super_vertex/manifest.json"), "manifest.json: not found"),
    "manifest truncated": (truncate("super_vertex/manifest.json"), "is no JSON file"),
    "another format": (lambda: edit_json("super_vertex/manifest.json", format=99), "format is not"),
    "no k": (lambda: edit_json("super_vertex/manifest.json", k=None), "`k` is damaged"),
    "another k": (lambda: edit_json("super_vertex/manifest.json", k=3), "neighbors.npy: shape is"),
    "no calibration": (lambda: edit_json("super_vertex/manifest.json", calibration=None), "`calibration`"),
    "a calibration of NaN": (
        lambda: edit_json("super_vertex/manifest.json", calibration={"middle": np.nan, "spread": 1}),
        "`calibration`",
    ),
    "graph a fifo": (
        lambda: (os.remove("super_vertex/neighbors.npy"), os.mkfifo("super_vertex/neighbors.npy")),
        "neighbors.npy: is not a regular file",
    ),
    "rounds damaged": (
        lambda: edit_json("super_vertex/manifest.json", rounds=[3]),
        "`rounds` is damaged",
    ),
    "a path out of the folder": (
        lambda: edit_json(
            "super_vertex/manifest.json", rounds=[{"name": "../x", "hierarchy": "a", "threshold": 1}]
        ),
        "`rounds` is damaged",
    ),
    "graph truncated": (truncate("super_vertex/neighbors.npy"), "neighbors.npy: is no whole .npy array"),
    "graph of another dtype": (
        replace_array("super_vertex/neighbors.npy", lambda array: array.astype(np.int64)),
        "neighbors.npy: is not int32",
    ),
    "neighbor out of range": (
        replace_array("super_vertex/neighbors.npy", lambda array: changed(array, (3, 0), 10**6)),
        "holds a row out of range",
    ),
    "neighbor missing": (
        replace_array("super_vertex/neighbors.npy", lambda array: changed(array, (slice(None), 0), -1)),
        "does not fit the readable rows",
    ),
    "similarity NaN": (
        replace_array("super_vertex/similarities.npy", lambda array: changed(array, (0, 0), np.nan)),
        "holds what is no cosine",
    ),
    "members missing": (lambda: os.remove(f"{ROUND}/members.npy"), "members.npy: not found"),
    "member out of range": (
        replace_array(f"{ROUND}/members.npy", lambda array: changed(array, 0, -5)),
        "holds a row out of range, twice",
    ),
    "member twice": (
        replace_array(f"{ROUND}/members.npy", lambda array: changed(array, 0, array[1])),
        "holds a row out of range, twice",
    ),
    "offsets do not fit": (
        replace_array(f"{ROUND}/offsets.npy", lambda array: changed(array, -1, 10**9)),
        "does not fit members.npy",
    ),
    "offsets that overflow": (
        replace_array(
            f"{ROUND}/offsets.npy", lambda array: np.insert(array, 1, [2**63 - 1, -(2**63) + 5, -(2**62)])
        ),
        "does not fit members.npy",
    ),
    "another value": (damage(f"{ROUND}/members.npy"), "members.npy: is not as it was written"),
    "another cosine": (damage("super_vertex/similarities.npy"), "similarities.npy: is not as it was written"),
    "another neighbor": (damage("super_vertex/neighbors.npy", 2), "neighbors.npy: is not as it was written"),
    "an archive in the place of an array": (
        lambda: Path(f"{ROUND}/members.npy").write_bytes(b"PK\x03\x04" + bytes(99)),
        "is no whole .npy array",
    ),
    "no rounds": (
        lambda: edit_json("super_vertex/manifest.json", rounds=[]),
        "`rounds` is damaged",
    ),
    "a calibration of more": (
        lambda: edit_json("super_vertex/manifest.json", calibration={"middle": 0, "spread": 1, "more": 1}),
        "`calibration`",
    ),
    "repeat out of range": (
        replace_array(f"{ROUND}/repeats.npy", lambda array: np.array([10**6])),
        "holds a number out of range",
    ),
}


@pytest.mark.parametrize("case", PROPOSALS)
def test_proposals(made, stage, case):
    assert len(np.load(f"{ROUND}/members.npy")) and len(np.load(f"{ROUND}/repeats.npy"))
    spoil, words = PROPOSALS[case]
    spoil()
    refused(stage(*PREDICT), INPUT, words)
    assert not Path("new.txt").exists()


def test_damaged_proposals_are_made_again(made, stage):
    before = Path("super_vertex/neighbors.npy").read_bytes()
    assert "is done already" in stage("proposal").out
    truncate("super_vertex/neighbors.npy")()
    assert "proposals from" in stage("proposal").out
    assert Path("super_vertex/neighbors.npy").read_bytes() == before


def test_proposals_with_other_parameters_are_never_mixed(made, stage):
    assert stage("proposal", "--k", "7", "--rounds", "3").code == 0
    manifest = json.loads(Path("super_vertex/manifest.json").read_text())
    assert manifest["k"] == 7
    assert len(list(Path("super_vertex").glob("round_*"))) == len(manifest["rounds"])
    clusters = Path("clusters.txt").read_bytes()
    assert "is done already" not in stage("predict").out
    assert "is done already" in stage("predict").out
    assert stage("predict", "--restart").code == 0
    assert "is done already" not in stage("proposal").out  # back to the defaults
    assert stage("predict").code == 0
    assert Path("clusters.txt").read_bytes() == clusters


def test_changed_clusters_are_made_again(made, stage):
    before = Path("clusters.txt").read_bytes()
    assert "is done already" in stage("predict").out
    Path("clusters.txt").write_text("0 1\n")
    assert stage("predict").code == 0
    assert Path("clusters.txt").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("proposal", ["--k", "0"]),
        ("proposal", ["--k", "-3"]),
        ("proposal", ["--k", "many"]),
        ("proposal", ["--rounds", "0"]),
        ("proposal", ["--max-size", "1"]),
        ("proposal", ["--threshold", "1e30"]),
        ("proposal", ["--output", ""]),
        ("proposal", ["--output", "/"]),
        ("predict", ["--output", "feature.bin"]),
        ("predict", ["--output", "feature.txt"]),  # its .json is that of the features
        ("predict", ["--output", "people.json"]),
        ("predict", ["--output", "super_vertex"]),
        ("export", ["--to", "json", "--output", "clusters.json"]),
        ("extract", ["list.txt", "--output", "list.txt"]),
        ("extract", ["list.txt", "second.txt"]),
        ("proposal", ["--step", "0"]),
        ("proposal", ["--threshold", "nan"]),
        ("proposal", ["--search", "best"]),
        ("proposal", ["--dim", "0"]),
        ("proposal", ["--colour"]),
        ("predict", ["--device", "abacus"]),
        ("evaluate", ["clusters.txt"]),
        ("export", ["--to", "paper"]),
        ("extract", []),
        ("extract", ["list.txt", "--crop", "round"]),
        ("extract", ["list.txt", "--batch-size", "0"]),
        ("extract", ["list.txt", "--model", "iresnet50"]),
        ("train", ["--set", "feature.bin"]),
        ("train", ["--set", "feature.bin", "labels.txt", "--folds", "1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "nothing",
)
def test_usage(made, stage, name, options):
    Path("list.txt").write_text("a.jpg\n")
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    refused(stage(name, *options), USAGE)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


LISTS = {
    "missing": (lambda path: None, "not found"),
    "empty": (lambda path: path.write_bytes(b""), "names no image"),
    "blank": (lambda path: path.write_bytes(b"\n \r\n"), "names no image"),
    "binary": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "is no"),
    "zeros": (lambda path: path.write_bytes(bytes(50)), "is a binary file"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "a fifo": (os.mkfifo, "is not a regular file"),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists(made, stage, case):
    spoil, words = LISTS[case]
    spoil(made / "list.txt")
    refused(stage("extract", "list.txt", "--output", "other.bin"), INPUT, "list.txt", words)
    assert not Path("other.bin").exists()


LABELS = {
    "missing": (None, "labels.txt: not found"),
    "empty": (b"", "holds no label"),
    "too few": (b"0\n1\n", "2 rows"),
    "an empty line": (b"anna\n\nbert\n", "line 2 is empty"),
    "unknown alone": (b"-1\n" * 202, "every person is unknown"),
    "binary": (bytes(20), "labels.txt"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels(made, stage, case):
    data, words = LABELS[case]
    if data is not None:
        Path("labels.txt").write_bytes(data)
    refused(stage(*EVALUATE), INPUT, words)


CLUSTERS = {
    "missing": (None, "clusters.txt: not found"),
    "empty": (b"", "clusters.txt"),
    "an empty line": (b"0 1\n\n2\n", "line 2 is empty"),
    "words": (b"0 one\n", "line 1"),
    "twice": (b"0 1\n1 2\n", "row 1 stands in two clusters"),
    "negative": (b"-4\n", "clusters.txt"),
    "a huge number": (b"0 99999999999999999999\n", "line 1"),
    "no digits of ours": ("²\n".encode(), "line 1"),
    "beyond the labels": (b"0 99999\n", "holds row 99999"),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_clusters(made, stage, case):
    data, words = CLUSTERS[case]
    os.remove("clusters.txt")
    if data is not None:
        Path("clusters.txt").write_bytes(data)
    Path("labels.txt").write_text("0\n1\n2\n")
    refused(stage(*EVALUATE), INPUT, words)


def test_training_data(made, stage):
    labels, train = Path("labels.txt"), ("train", "--set", "feature.bin", "labels.txt")
    labels.write_text("0\n1\n")
    refused(stage(*train), INPUT, "labels.txt", "2 rows")
    labels.write_text("3\n" * 202)
    refused(stage(*train), INPUT, "labels.txt: 1 people have two images or more, too few")
    labels.write_text("".join(f"{row}\n" for row in range(202)))
    refused(stage(*train), INPUT, "labels.txt: 0 people have two images or more, too few")
    labels.write_text("".join(f"{row % 7}\n" for row in range(202)))
    refused(stage(*train, "--folds", "2"), INPUT, "7 people", "in 2 folds: give labels of 8 at least")
    labels.write_text("".join(f"{row % 8}\n" for row in range(202)))
    refused(stage(*train, "--folds", "5"), INPUT, "8 people", "in 5 folds: give labels of 10 at least")
    refused(stage(*train, "--output", "labels.txt"), ENVIRONMENT, "labels.txt: is not a folder")


class Evil:
    """Unpickled, it leaves a mark."""

    def __reduce__(self):
        return (Path.touch, (Path("ran").absolute(),))


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("feature.bin", PROPOSAL),
        ("feature.json", PROPOSAL),
        ("super_vertex/manifest.json", PREDICT),
        ("super_vertex/neighbors.npy", PREDICT),
        ("super_vertex/similarities.npy", PREDICT),
        (f"{ROUND}/members.npy", PREDICT),
        (f"{ROUND}/offsets.npy", PREDICT),
        (f"{ROUND}/repeats.npy", PREDICT),
        ("net/gcn_d.safetensors", (*PREDICT, "--weights", "net")),
        ("net/gcn_s.safetensors", (*PREDICT, "--weights", "net")),
        ("clusters.txt", EVALUATE),
        ("labels.txt", EVALUATE),
        ("clusters.json", EXPORT),
        ("clusters.json", ("report",)),
        ("corrections.json", (*PREDICT, "--corrections", "corrections.json")),
        ("corrections.json", ("report", "--corrections", "corrections.json")),
        ("list.txt", ("extract", "list.txt", "--output", "other.bin")),
        ("w.pth", ("extract", "list.txt", "--model", "resnet50", "--weights", "w.pth", "--output", "o.bin")),
        ("w.safetensors", ("extract", "list.txt", "--model", "resnet50", "--weights", "w.safetensors")),
        ("trained/checkpoint.pt", ("train", "--set", "feature.bin", "people.txt", "--output", "trained")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
@pytest.mark.parametrize("form", ["pickle", "object array"])
def test_no_file_runs_code(made, stage, path, arguments, form):
    shutil.copytree(REPOSITORY / "weights", "net")
    Path("trained").mkdir()
    Path("list.txt").write_text("a.jpg\n")
    Path("labels.txt").write_text("0\n" * 202)
    Path("people.txt").write_text("".join(f"{row % 20}\n" for row in range(202)))
    if form == "pickle":
        Path(path).write_bytes(pickle.dumps(Evil()))
    else:
        with open(path, "wb") as file:
            np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    refused(stage(*arguments), INPUT, Path(path).name)
    assert not Path("ran").exists()


@pytest.fixture
def obedient(made):
    """Run a stage that is bound by the modes of files and folders even where root runs the tests."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]

    def run(name, *arguments):
        command = [sys.executable, REPOSITORY / f"{name}.py", *arguments]
        done = subprocess.run(
            drop * (os.geteuid() == 0) + command, capture_output=True, text=True, timeout=300
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    yield run
    os.chmod(made, 0o755)


@pytest.mark.parametrize(
    "command",
    [("proposal", "--k", "5"), PREDICT, (*EXPORT, "--filelist", "list.txt"), ("extract", "list.txt")],
    ids=lambda command: command[0],
)
def test_a_folder_that_may_not_be_written(made, obedient, command):
    if command[0] in ("extract", "export"):
        Path("list.txt").write_text("a.jpg\n" * 202)
    if command[0] == "extract":
        os.remove("feature.bin")
        os.remove("feature.json")
    before = sorted(made.rglob("*"))
    os.chmod(made, 0o555)
    refused(obedient(*command), ENVIRONMENT, "no permission")
    assert sorted(made.rglob("*")) == before


def test_what_is_done_is_known_where_nothing_may_be_written(made, obedient):
    os.chmod(made, 0o555)
    assert "is done already" in obedient("proposal").out


@pytest.mark.parametrize(
    "command", [PROPOSAL, EVALUATE, ("extract", "list.txt")], ids=lambda command: command[0]
)
def test_files_that_may_not_be_read(made, obedient, command):
    Path("labels.txt").write_text("1\n")
    Path("list.txt").write_text("1\n")
    for name in ("feature.bin", "list.txt", "clusters.txt"):
        os.chmod(name, 0)
    ended = obedient(*command)
    assert ended.code in (INPUT, ENVIRONMENT) and "no permission" in ended.err, ended
    assert ended.err.count("\n") == 1


def test_an_image_that_may_not_be_read_is_a_row_of_zeros(made, obedient):
    Path("shut").mkdir()
    Path("faces").mkdir()
    for name in ("faces/open.png", "faces/shut.png", "shut/a.png"):
        Image.radial_gradient("L").resize((112, 112)).save(name)
    os.chmod("faces/shut.png", 0)
    os.chmod("shut", 0)
    Path("list.txt").write_text("faces/open.png\nfaces/shut.png\nshut/a.png\n")
    ended = obedient("extract", "list.txt", "--workers", "1", "--output", "f.bin")
    os.chmod("shut", 0o700)
    assert ended.code == 0, ended
    unreadable = json.loads(Path("f.json").read_text())["unreadable"]
    assert [(entry["row"], entry["reason"]) for entry in unreadable] == [
        (1, "no permission to read it"),
        (2, "no permission to read it"),
    ]


def test_a_place_that_cannot_be_written(made, stage):
    refused(stage("proposal", "--k", "5", "--output", "/proc/none/super_vertex"), ENVIRONMENT)
    refused(
        stage("predict", "--output", "feature.bin/clusters.txt"), ENVIRONMENT, "feature.bin: is not a folder"
    )


def test_a_folder_of_other_things_is_not_replaced(made, stage):
    Path("photos").mkdir()
    Path("photos/mine.jpg").touch()
    refused(stage("proposal", "--output", "photos"), INPUT, "photos: holds mine.jpg")
    assert Path("photos/mine.jpg").exists()


LABELS_AND_CARD = {"labels.txt": "0\n1\n", "README.md": "# My project\n", "notes.json": "{}"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("predict", "--output", "labels.txt"), "labels.txt"),
        (("predict", "--output", "notes"), "notes.json"),
        (("predict", "--output", "README.md"), "README.md"),
        (("predict", "--output", "super_vertex/manifest.txt"), "manifest.json"),
        (("predict", "--output", "super_vertex/neighbors.npy"), "neighbors.npy"),
        (("predict", "--output", "net/gcn_d.safetensors", "--weights", "net"), "gcn_d.safetensors"),
        (("predict", "--output", "images/3.jpg"), "3.jpg"),
        (("predict", "--output", "/dev/stdout"), "/dev/stdout"),
        (("export", "--to", "csv", "--output", "images/list.txt"), "list.txt"),
        (("export", "--to", "csv", "--output", "images/3.jpg"), "3.jpg"),
        (("export", "--to", "csv", "--output", "README.md"), "README.md"),
        (("export", "--to", "json", "--output", "feature.json"), "feature.json"),
        (("export", "--to", "json", "--output", "super_vertex/manifest.json"), "manifest.json"),
        (("export", "--to", "json", "--output", "/dev/stdout"), "/dev/stdout"),
        (("train", "--set", "feature.bin", "people.txt", "--output", "../work"), "README.md"),
        (("train", "--set", "feature.bin", "people.txt", "--output", "theirs", "--restart"), "checkpoint.pt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_a_stage_did_not_write_it_does_not_replace(made, stage, arguments, named):
    draw_images(made)
    shutil.copytree(REPOSITORY / "weights", "net")
    Path("theirs").mkdir()
    Path("theirs/checkpoint.pt").write_bytes(bytes(100))
    Path("people.txt").write_text("".join(f"{row % 20}\n" for row in range(202)))
    for name, text in LABELS_AND_CARD.items():
        Path(name).write_text(text)
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    ended = stage(*arguments)
    assert ended.code in (USAGE, INPUT), ended
    refused(ended, ended.code, named)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_what_a_stage_wrote_it_replaces(made, stage):
    draw_images(made)
    before = Path("clusters.txt").read_bytes()
    os.truncate("clusters.json", 150)  # damaged, but known
    assert stage("predict").code == 0 and Path("clusters.txt").read_bytes() == before
    for kind in ("csv", "json"):
        for _ in range(2):
            assert stage("export", "--to", kind).code == 0


@pytest.mark.parametrize("command", ["predict", "report"])
def test_corrections_that_say_nothing_change_nothing(made, stage, command):
    draw_images(made)
    said = {"format": 1, "network": {}, "faces": [], "people": [], "apart": []}
    Path("corrections.json").write_text(json.dumps(said))
    before = Path("clusters.txt").read_bytes()
    assert stage(command, "--corrections", "corrections.json").code == 0
    assert Path("clusters.txt").read_bytes() == before


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lambda: os.mkfifo("report/index.html"), "report/index.html: is no regular file"),
        (
            lambda: Path("report/index.html").symlink_to("../mine.txt"),
            "report/index.html: is no regular file",
        ),
        (
            lambda: Path("report/thumbs").symlink_to("../outside"),
            "report/thumbs: is not a folder of this tool",
        ),
    ],
    ids=["fifo", "link", "thumbnails"],
)
def test_what_is_planted_in_a_report_is_not_followed(made, stage, plant, words):
    draw_images(made)
    Path("report").mkdir()
    Path("outside").mkdir()
    Path("mine.txt").write_text("mine")
    plant()
    refused(stage("report"), INPUT, words)
    assert list(Path("outside").iterdir()) == [] and Path("mine.txt").read_text() == "mine"


def test_links_at_the_places_of_parts_are_not_followed(made, stage):
    draw_images(made)
    Path("mine.txt").write_text("mine")
    for place in (".clusters.txt.face-clusters-part", ".clusters.json.face-clusters-part"):
        Path(place).symlink_to("mine.txt")
    assert stage("predict", "--restart").code == 0
    assert stage("report").code == 0
    thumbnail = next(Path("report/thumbs").glob("*/*.jpg"))
    part_path(thumbnail).symlink_to(made / "mine.txt")
    thumbnail.unlink()
    Path("report/.index.html.face-clusters-part").symlink_to("../mine.txt")
    assert stage("report").code == 0
    assert thumbnail.is_file() and Path("mine.txt").read_text() == "mine"


def test_the_first_line_says_what_was_read(made, stage):
    for options in ((), ("--k", "7")):
        assert stage("proposal", *options).out.startswith("feature.bin: 202 rows x 64, float32\n")


def test_npy_features_give_the_same_people(made, stage):
    rows, before = np.fromfile("feature.bin", "<f4").reshape(-1, 64), Path("clusters.txt").read_bytes()
    for kind in ("<f4", "<f8"):
        np.save("people.npy", rows.astype(kind))
        options = ("--features", "people.npy", "--proposals", "sv")
        assert stage("proposal", *options[:2], "--output", "sv").code == 0
        assert stage("predict", *options, "--output", "new.txt").code == 0
        assert Path("new.txt").read_bytes() == before


def test_training_leaves_unknown_people_out(made, stage):
    Path("people.txt").write_text("".join(f"{row % 20 if row < 150 else -1}\n" for row in range(202)))
    Path("one.txt").write_text("-1\n" * 202)
    refused(stage("train", "--set", "feature.bin", "one.txt"), INPUT, "one.txt: 0 people")
    found = problems.read_set(Path("feature.bin"), Path("people.txt"), None, 2)
    assert found.labels.min() >= 0 and len(found.labels) in (149, 150)


def test_names_cannot_command_the_terminal(made, stage):
    name = "\x1b[2Jred\nline\udcff"
    refused(stage("proposal", "--features", name), INPUT, r"\x1b[2Jred line\udcff: not found")


WEIGHTS = {
    "NaN": lambda tensors: tensors | {"0.head.0.bias": tensors["0.head.0.bias"] * np.nan},
    "integers": lambda tensors: {name: tensor.long() for name, tensor in tensors.items()},
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_of_no_numbers(made, stage, case):
    shutil.copytree(REPOSITORY / "weights", "net")
    path = "net/gcn_d.safetensors"
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.save_file(WEIGHTS[case](tensors), path, metadata)
    refused(stage(*PREDICT, "--weights", "net"), INPUT, path, "holds what is no number")


def test_weights_that_are_a_fifo(made, stage):
    Path("net").mkdir()
    os.mkfifo("net/gcn_d.safetensors")
    refused(stage(*PREDICT, "--weights", "net"), INPUT, "net/gcn_d.safetensors: is not a regular file")


def test_a_link_or_a_file_in_the_place_of_the_proposals_stays(made, stage):
    shutil.move("super_vertex", "elsewhere")
    Path("super_vertex").symlink_to("elsewhere")
    refused(stage("proposal", "--restart"), INPUT, "is not a folder of this tool")
    assert Path("elsewhere/manifest.json").exists()


def test_rows_that_are_all_equal(made, stage):
    edit_rows(lambda rows: rows.__setitem__(slice(None), rows[0]))
    refused(stage("proposal"), INPUT, "every row is the same")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_rows_than_neighbors_are_no_error(made, stage, count):
    np.eye(64, dtype="<f4")[:count].tofile("feature.bin")
    edit_json("feature.json", count=count)
    assert stage("proposal").code == 0
    assert stage("predict").code == 0
    assert sorted(Path("clusters.txt").read_text().split()) == [str(row) for row in range(count)]
