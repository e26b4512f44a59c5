"""What scripts and tests load before they know what to do, and how packages may depend on one another."""

import ast
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

SCRIPTS = sorted(path.stem for path in REPOSITORY.glob("*.py"))
HEAVY = {"faiss", "jinja2", "matplotlib", "numpy", "PIL", "ray", "scipy", "torch", "torch_geometric"}
HEAVY |= {"torchvision", "tqdm"}
# What each room may import, beside itself; scripts may import all rooms.
MAY_IMPORT = {
    "common": set(),
    "model": {"common"},
    "pipeline": {"common"},
    "stages": {"common", "model", "pipeline"},
    "distributed": {"common", "model", "pipeline", "stages"},
}


def loaded_by(script, *arguments):
    """The packages that a script has loaded when it ends, and its exit code."""
    command = [sys.executable, "-X", "importtime", REPOSITORY / f"{script}.py", *arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    lines = [line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "|" in line]
    return {name.partition(".")[0] for name in lines}, ended.returncode


@pytest.mark.process
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_wrong_options_load_nothing_heavy(script):
    for argument, code in (("--help", 0), ("--no-such-option", 2)):
        loaded, ended = loaded_by(script, argument)
        assert "common" in loaded and ended == code
        assert loaded & HEAVY == set()


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("align", ["none"]),
        ("extract", ["none.txt"]),
        ("proposal", ["--features", "none.bin"]),
        ("predict", ["--features", "none.bin"]),
        ("report", ["--features", "none.bin"]),
        ("export", ["--clusters", "none.txt"]),
        ("evaluate", ["none.txt", "none.txt"]),
        ("train", ["--set", "none.bin", "none.txt"]),
    ],
)
def test_a_missing_file_is_told_before_networks_and_indexes_load(script, arguments):
    loaded, ended = loaded_by(script, *arguments)
    assert ended == 3
    assert loaded & {"faiss", "torch", "torchvision", "torch_geometric", "scipy"} == set()


@pytest.mark.process
@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/draw_sample"])
def test_scripts_find_their_modules_whatever_is_set(script, tmp_path):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, REPOSITORY / f"{script}.py", "--help"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.startswith("usage: ")


def test_collecting_the_tests_loads_nothing_that_takes_seconds():
    heavy = {"faiss", "onnx", "onnxruntime", "ray", "sklearn", "torch", "torch_geometric", "torchvision"}
    code = f"import pytest, sys; pytest.main(['--collect-only', '-qq']); print({heavy} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    lines = ended.stdout.splitlines()
    assert len(lines) > 40 and lines[-1] == "set()", ended.stdout[-2000:] + ended.stderr


def imported_rooms(path):
    """The top-level packages that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_room_imports_what_stands_above_it(room):
    rooms = {*MAY_IMPORT, *SCRIPTS, "benchmarks", "tests"}
    for path in (REPOSITORY / room).rglob("*.py"):
        assert imported_rooms(path) & rooms <= MAY_IMPORT[room] | {room}, path


def test_only_distributed_imports_ray():
    for room in {*MAY_IMPORT} - {"distributed"}:
        for path in (REPOSITORY / room).rglob("*.py"):
            assert "ray" not in imported_rooms(path), path
