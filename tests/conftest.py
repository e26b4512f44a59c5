"""Fixtures shared by the tests: small features with a known answer, and scripts run as users run them."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import cli
from common.progress import set_quiet

import numpy as np
import pytest
from PIL import Image

from pipeline.files.atomic import digest_file

REPOSITORY = Path(__file__).resolve().parents[1]
# Names that would do harm where they were taken for HTML, a script, an address or the end of a line.
HOSTILE = (
    '"><script>alert(1)</script>.jpg',
    "<img src=x onerror=alert(1)>.jpg",
    "a#b?c=d%20&amp;e.jpg",
    "it's \\ 100% `${alert(1)}`.jpg",
    "-ü 名 \u2028.jpg",
)
# Tests run in the background ignore Ctrl-C, and so would the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
KILLS = int(os.environ.get("FAULT_KILLS", "3"))  # how often each stage is killed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes, for `sh run_tests.sh quick` to leave out."""
    for item in items:
        if {"start_process", "run_script"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.process)


class LazyModule:
    """A module that is imported at the first use of what it defines, so that collecting tests is quick."""

    __slots__ = ("name",)  # to patch what it defines, name the module in a string

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # collecting, pytest looks for marks of its own
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.name), attribute)


@dataclass(frozen=True)
class People:
    """Features whose clusters are known.

    `rows` is float32 (N, dim); `labels` int64 (N,), -1 for the zero row; `zero`, `twins` and `single`
    say where the zero row, two exact duplicates and a person seen once stand.
    """

    rows: np.ndarray
    labels: np.ndarray
    zero: int
    twins: tuple[int, int]
    single: int


def make_people(
    people: int = 12, images: int = 8, dim: int = 64, noise: float = 0.25, mean: float = 0.0, seed: int = 0
) -> People:
    """People as random unit directions, their images as those plus noise, in a shuffled order.

    `noise` is the length of the noise beside a direction of length 1; `mean` that of a vector added to
    every row, as the features of some networks share one. Always holds a zero row, two exact
    duplicates and a person seen once.
    """
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((people + 1, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    labels = np.append(np.repeat(np.arange(people), images), people)
    rows = directions[labels] + noise / np.sqrt(dim) * rng.standard_normal((len(labels), dim))
    rows[1] = rows[0]
    rows[:, 0] += mean
    rows, labels = np.vstack([rows, np.zeros(dim)]), np.append(labels, -1)
    order = rng.permutation(len(rows))
    place = np.argsort(order)
    return People(
        rows=rows[order].astype(np.float32),
        labels=labels[order],
        zero=int(place[-1]),
        twins=(int(place[0]), int(place[1])),
        single=int(place[-2]),
    )


def make_problem(people: People) -> Any:
    """The affinity graph and the proposals of people without their zero row, a `Problem` to be scored on."""
    usable = people.labels >= 0
    return LazyModule("pipeline.training.problems").pose_problem(people.rows[usable], people.labels[usable])


def make_cut_people() -> tuple[Any, np.ndarray]:
    """A `Problem` of 20 people with 10 images each, and labels in which the first ten are cut in two."""
    problem = make_problem(make_people(people=20, images=10, noise=0.5))
    labels = problem.labels.copy()
    for person in range(10):
        labels[np.flatnonzero(labels == person)[:4]] = 100 + person
    return problem, labels


@pytest.fixture(scope="session")
def judges() -> Any:
    """`predict_iou` and `predict_member` of the networks in weights/, on the CPU."""
    return importlib.import_module("stages.judges").load_judges(
        REPOSITORY / "weights", LazyModule("torch").device("cpu")
    )


@pytest.fixture
def people() -> People:
    """A dozen people, easy to tell apart."""
    return make_people()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real faces beside the repository; skipped where absent, but not in CI."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        reason = f"{path} is not there: it holds the real faces this test is about"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def portraits() -> list[Image.Image]:
    """Drawn faces of a dozen people, RGB 112 x 112, laid out as aligned crops are."""
    draw_sample = importlib.import_module("scripts.draw_sample")
    rng = np.random.default_rng(0)
    return [
        draw_sample.draw_face(person, draw_sample.draw_shot(rng), rng)
        for person in draw_sample.draw_people(rng)
    ]


@pytest.fixture(scope="session")
def detect() -> Callable[[np.ndarray], list[np.ndarray]]:
    """The detector of faces, as `pipeline.photos.detection` wants it."""
    detector = importlib.import_module("model.detector")
    network = detector.load_detector(detector.find_detector_weights())
    return lambda pictures: detector.detect(network, pictures, 0.2)


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start processes as subprocess.Popen does, each in a session of its own.

    However the test ends, they are killed with their children and their pipes closed.
    """

    def kill(process: subprocess.Popen) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    with ExitStack() as stack:

        def start(command: list[str | Path], **options: Any) -> subprocess.Popen:
            process = stack.enter_context(subprocess.Popen(command, start_new_session=True, **options))
            stack.callback(kill, process)
            return process

        yield start


def wait_until(process: subprocess.Popen, sign: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for a sign of the running process; fails where it ends without, or takes too long."""
    deadline = time.monotonic() + seconds
    while not sign():
        assert process.poll() is None, f"ended with {process.returncode} before the sign"
        assert time.monotonic() < deadline, f"no sign in {seconds} s"
        time.sleep(0.002)


def quickest(attempt: Callable[[], float], enough: float, tries: int = 3) -> float:
    """The least seconds of a few attempts, since other work on the machine can make one late; no more
    are made once one was quick enough."""
    best = float("inf")
    for _ in range(tries):
        best = min(best, attempt())
        if best < enough:
            break
    return best


def is_locking(process: subprocess.Popen, folder: Path) -> bool:
    """Whether a stage has come to its work: it holds the folder that it writes into open."""
    try:
        opened = [entry.readlink() for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
    except OSError:  # one was closed meanwhile
        return False
    return folder.resolve() in opened


def without_advice(err: str) -> str:
    """What a stage printed on stderr, without what it says of crops that are no faces, as tests draw them,
    and of steps that take a minute where the machine is busy."""
    advice = (
        r"looked at show no face aligned|are blurred|is blurred|are not square|^[a-z ]+: ([6-9]\d|\d{3,}) s$"
    )
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not re.search(advice, line))


@dataclass(frozen=True)
class Ended:
    """How a stage ended: exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def stage(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a stage by its module's name in this process, which is quicker than its command."""

    def run(name: str, *arguments: str | Path) -> Ended:
        module = importlib.import_module(name)
        capfd.readouterr()
        try:
            code = cli.run(module.main, module.get_parser(), [str(argument) for argument in arguments])
        except SystemExit as end:  # argparse, for usage
            code = int(end.code or 0)
        finally:
            set_quiet(False)
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with feature.bin, feature.json, super_vertex/, clusters.txt and clusters.json."""
    folder = tmp_path_factory.mktemp("made")
    people = make_people(people=20, images=10)
    count, dim = people.rows.shape
    people.rows.astype("<f4").tofile(folder / "feature.bin")
    (folder / "feature.json").write_text(json.dumps({"format": 1, "count": count, "dim": dim}))
    places = {"features": folder / "feature.bin", "proposals": folder / "super_vertex"}
    parser = importlib.import_module("proposal").get_parser()
    arguments = ["--features", places["features"], "--output", places["proposals"], "--quiet"]
    assert cli.run(importlib.import_module("proposal").main, parser, list(map(str, arguments))) == 0
    parser = importlib.import_module("predict").get_parser()
    arguments = ["--features", places["features"], "--proposals", places["proposals"], "--quiet"]
    arguments += ["--output", folder / "clusters.txt"]
    assert cli.run(importlib.import_module("predict").main, parser, list(map(str, arguments))) == 0
    set_quiet(False)
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made_once` as the working directory, to be spoilt."""
    work = tmp_path / "work"
    shutil.copytree(made_once, work)
    monkeypatch.chdir(work)
    return work


def draw_images(folder: Path) -> None:
    """An image for each row of feature.bin there, named in images/list.txt, which feature.json names.

    The last ones have HOSTILE names, the others their row's number.
    """
    meta = json.loads((folder / "feature.json").read_text())
    plain = meta["count"] - len(HOSTILE)
    names = [f"{row}.jpg" for row in range(plain)] + list(HOSTILE)
    for row, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (row % 256, 7 * row % 256, 31 * row % 256)).save(path)
    filelist = folder / "images" / "list.txt"
    filelist.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    meta |= {"filelist": str(filelist), "filelist_sha256": digest_file(filelist)}
    (folder / "feature.json").write_text(json.dumps(meta))


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sh SCRIPT ARGUMENTS` as a user does, from a working directory of its own.

    Its options are `cwd`, and `env` for variables to change (None removes one).
    """

    def run(
        script: str | Path,
        *arguments: str | Path,
        cwd: Path = tmp_path,
        env: dict[str, str | None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        variables = os.environ | (env or {})
        return subprocess.run(
            ["sh", REPOSITORY / script, *arguments],
            cwd=cwd,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
        )

    return run
