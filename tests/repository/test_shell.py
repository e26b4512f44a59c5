"""The shell scripts as users call them: set-up, interpreter, arguments, cleaning.

Most set-ups here run with a stand-in for python3 that makes a `.venv` of itself and only notes what
pip was asked for, so they take no network and no time; one makes a real environment.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY, wait_until

SCRIPTS = sorted(path.name for path in REPOSITORY.glob("run_*.sh"))
STAND_IN = f"""#!/bin/sh
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip") echo "$*" >>"$PIP_LOG"; [ -z "$PIP_WAITS" ] || sleep 60; exit "$PIP_EXIT" ;;
*) exec {sys.executable} "$@" ;;
esac
"""
ECHO = "import json, sys\nprint(json.dumps(sys.argv[1:]))\n"


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Checkout:
    """A fresh copy of the shell scripts, whose evaluate.py only prints its arguments."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "a fresh copy"
        self.work = tmp_path / "work here"
        self.venv = self.path / ".venv"
        self.pip_log = tmp_path / "pip.log"
        self.bin = tmp_path / "bin"
        self.work.mkdir()
        shutil.copytree(REPOSITORY / "scripts", self.path / "scripts")
        for name in SCRIPTS:
            shutil.copy(REPOSITORY / name, self.path)
        (self.path / "requirements.txt").write_text("# none\n")
        (self.path / "evaluate.py").write_text(ECHO)
        write_program(self.bin / "python3", STAND_IN)

    def environment(self, **variables):
        kept = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        stand_in = {"PIP_LOG": str(self.pip_log), "PIP_EXIT": "0", "PIP_WAITS": ""}
        return kept | {"PATH": f"{self.bin}:{kept['PATH']}"} | stand_in | variables

    def run(self, *arguments, script="run_evaluate.sh", **variables):
        return subprocess.run(
            ["sh", self.path / script, *arguments],
            cwd=self.work,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    @property
    def installs(self):
        return self.pip_log.read_text().count("install") if self.pip_log.exists() else 0


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


# --- every script ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_it_is_and_is_strict(name):
    lines = (REPOSITORY / name).read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    header = lines[1 : lines.index("set -eu")]
    assert all(line.startswith("#") for line in header)
    for word in ("Input:", "Output:", "Cost:", "Example:"):
        assert any(line.startswith(f"# {word}") for line in header), word


@pytest.mark.parametrize("name", ["run_clean.sh", "run_demo.sh", "run_tests.sh"])
def test_scripts_without_a_python_twin_answer_help_and_version(run_script, name):
    shown = run_script(name, "--help")
    assert shown.returncode == 0
    assert f"sh {name}" in shown.stdout
    assert "set -eu" not in shown.stdout
    version = run_script(name, "--version")
    assert version.returncode == 0
    assert version.stdout.startswith(f"{name} ")
    assert version.stdout.split()[1][0].isdigit()


def test_arguments_reach_the_python_script_untouched(checkout):
    arguments = ["a b", "", "*", "$HOME", 'say "hi"', "--flag=x y", "ü.jpg"]
    result = checkout.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == arguments


# --- set-up ------------------------------------------------------------------------------------


def test_a_fresh_copy_is_set_up_once_and_says_so(checkout):
    first = checkout.run()
    assert first.returncode == 0, first.stderr
    assert f"making {checkout.venv}" in first.stderr
    assert "installing requirements.txt" in first.stderr
    assert first.stdout == "[]\n"
    second = checkout.run()
    assert (second.returncode, second.stdout, second.stderr) == (0, "[]\n", "")
    assert checkout.installs == 1


@pytest.mark.slow
def test_a_real_environment_is_made_without_a_network_where_nothing_is_required(checkout):
    checkout.bin.joinpath("python3").unlink()
    result = checkout.run("one")
    assert result.returncode == 0, result.stderr
    assert result.stdout == '["one"]\n'
    assert (checkout.venv / "pyvenv.cfg").exists()


def test_changed_requirements_are_installed_once_more(checkout):
    checkout.run()
    (checkout.path / "requirements.txt").write_text("# other\n")
    assert "installing requirements.txt" in checkout.run().stderr
    assert checkout.run().stderr == ""
    assert checkout.installs == 2


def test_the_detectors_package_is_installed_without_what_it_depends_on(checkout):
    for name in ("requirements-photos.txt", "requirements-detector.txt"):
        (checkout.path / name).write_text("# none\n")
    (checkout.path / "align.py").write_text(ECHO)
    result = checkout.run("photos", script="run_align.sh")
    assert (result.returncode, result.stdout) == (0, '["photos"]\n')
    lines = checkout.pip_log.read_text().splitlines()
    assert ["--no-deps" in line for line in lines] == [False, False, True]
    assert "requirements-detector.txt" in lines[2]


def test_a_set_up_that_was_killed_goes_on_and_nothing_is_removed(checkout, start_process):
    running = start_process(
        ["sh", checkout.path / "run_evaluate.sh"],
        env=checkout.environment(PIP_WAITS="yes"),
        cwd=checkout.work,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(running, lambda: checkout.installs)
    waiting = checkout.run()
    assert waiting.returncode == 4
    assert f"process {running.pid} is setting up" in waiting.stderr
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()

    (checkout.venv / "kept").touch()
    (checkout.path / "requirements-dev.txt").write_text("# none\n")
    (checkout.venv / "unfinished").write_text(f"{os.getpid()}\nrequirements-dev.txt\n")  # an id in use
    result = checkout.run()
    assert (result.returncode, result.stdout) == (0, "[]\n")
    assert "cut short: installing requirements-dev.txt once more" in result.stderr
    assert (checkout.venv / "kept").exists() and not (checkout.venv / "unfinished").exists()
    cut, wanted = checkout.pip_log.read_text().splitlines()[-2:]
    assert "requirements-dev.txt --force-reinstall" in cut
    assert "requirements.txt" in wanted and "--force-reinstall" not in wanted


@pytest.mark.parametrize(
    ("python", "words"),
    [
        (None, "holds no bin/python"),
        ("#!/bin/sh\necho 'Fatal: no encodings' >&2\nexit 1\n", "does not start (Fatal: no encodings)"),
        ("#!/bin/sh\ncase $2 in *exit*) exit 1;; esac\necho is of Python 3.8\n", "is of Python 3.8"),
    ],
    ids=["gone", "broken", "old"],
)
def test_an_environment_that_is_of_no_use_is_told_of_and_kept(checkout, python, words):
    checkout.run()
    (checkout.venv / "kept").touch()
    if python is None:
        (checkout.venv / "bin" / "python").unlink()
    else:
        write_program(checkout.venv / "bin" / "python", python)
    before = sorted(checkout.venv.rglob("*"))
    result = checkout.run()
    assert (result.returncode, result.stdout) == (4, "")
    assert len(result.stderr.splitlines()) == 1 and words in result.stderr
    assert sorted(checkout.venv.rglob("*")) == before


def test_an_environment_the_user_made_is_kept(checkout):
    write_program(checkout.venv / "bin" / "python", STAND_IN)
    (checkout.venv / "kept").touch()
    result = checkout.run()
    assert (result.returncode, result.stdout) == (0, "[]\n")
    assert checkout.installs == 1
    assert (checkout.venv / "kept").exists()


def test_a_failed_install_is_one_clear_line_and_can_be_repeated(checkout):
    failed = checkout.run(PIP_EXIT="1")
    assert failed.returncode == 4
    assert failed.stdout == ""
    assert "run_evaluate.sh: error: could not install" in failed.stderr.splitlines()[-1]
    again = checkout.run()
    assert (again.returncode, again.stdout) == (0, "[]\n")
    assert "cut short" not in again.stderr


@pytest.mark.parametrize("old", [False, True], ids=["no python", "an old python"])
def test_without_a_python_the_line_says_what_to_install(checkout, tmp_path, old):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "basename", "dirname", "cat", "cksum", "rm", "mkdir", "sed"):
        (tools / tool).symlink_to(shutil.which(tool))
    if old:
        write_program(tools / "python3", "#!/bin/sh\nexit 1\n")
    result = checkout.run(PATH=str(tools))
    assert result.returncode == 4
    assert result.stderr == (
        "run_evaluate.sh: error: found no Python 3.10 or later: install one, or set PYTHON to it\n"
    )
    assert not checkout.venv.exists()


# --- $PYTHON -----------------------------------------------------------------------------------


def test_the_users_python_is_taken_and_no_environment_made(checkout):
    result = checkout.run(PYTHON=sys.executable)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")
    assert not checkout.venv.exists()


def test_the_users_python_may_be_a_relative_path(checkout):
    (checkout.work / "my python").symlink_to(checkout.bin / "python3")
    result = checkout.run(PYTHON="./my python")
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")


def test_a_users_python_that_lacks_packages_is_named_with_the_remedy(checkout, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    (checkout.path / "requirements.txt").write_text("# two\nfaiss-cpu>=1.8\ntorch>=2.6\n")
    result = checkout.run(PYTHON=str(bare / "bin" / "python"))
    assert result.returncode == 4
    assert "lacks faiss, torch: run" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_python_that_the_system_manages_is_not_installed_into(checkout, tmp_path):
    (checkout.path / "requirements.txt").write_text("not-to-be-found\n")
    (tmp_path / "lib" / "EXTERNALLY-MANAGED").parent.mkdir()
    (tmp_path / "lib" / "EXTERNALLY-MANAGED").touch()
    managed = f"""#!/bin/sh
case $2 in
*EXTERNALLY*) shift; set -- -c "import sys, sysconfig
sys.prefix = sys.base_prefix
sysconfig.get_path = lambda name: '{tmp_path / "lib"}'
$1" ;;
esac
exec {sys.executable} "$@"
"""
    write_program(checkout.bin / "managed", managed)
    result = checkout.run(PYTHON="managed")
    assert result.returncode == 4 and len(result.stderr.splitlines()) == 1
    assert "lacks not_to_be_found: unset PYTHON" in result.stderr and "pip install" not in result.stderr


@pytest.mark.parametrize(
    ("program", "words"), [("no-such-python", "is no command"), ("false", "not Python 3.10")]
)
def test_a_users_python_that_is_none_is_refused(checkout, program, words):
    result = checkout.run(PYTHON=program)
    assert result.returncode == 4
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_products_requirements_are_all_found_by_module():
    files = ("requirements.txt", "requirements-photos.txt", "requirements-detector.txt")
    result = subprocess.run(
        [
            sys.executable,
            REPOSITORY / "scripts" / "missing_packages.py",
            *(REPOSITORY / name for name in files),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "\n"


# --- run_clean.sh ------------------------------------------------------------------------------


def test_clean_removes_what_can_be_made_again_and_nothing_else(checkout):
    gone = [
        "feature.bin",
        "feature.json",
        "feat.bin",
        "feat.json",
        ".feature.bin.face-clusters-part",
        "super_vertex/round_000/members.npy",
        "__pycache__/x.pyc",
        "pipeline/__pycache__/x.pyc",
        "demo/feature.bin",
        "demo/super_vertex/manifest.json",
    ]
    kept = [
        "clusters.txt",
        "demo/clusters.txt",
        ".venv/lib/__pycache__/x.pyc",
        "my feature.bin",
        "faces/feature.bin",
    ]
    for name in gone + kept:
        path = checkout.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (checkout.work / "feature.bin").touch()
    result = checkout.run(script="run_clean.sh")
    assert (result.returncode, result.stderr) == (0, "")
    assert [name for name in gone if (checkout.path / name).exists()] == []
    assert [name for name in kept if not (checkout.path / name).exists()] == []
    assert (checkout.work / "feature.bin").exists()
    said = {line.removeprefix(f"removed {checkout.path}/") for line in result.stdout.splitlines()}
    assert said == {name.split("/")[0] for name in gone if "/" not in name} | {
        "super_vertex",
        "__pycache__",
        "pipeline/__pycache__",
        "demo/feature.bin",
        "demo/super_vertex",
    }
    assert checkout.run(script="run_clean.sh").stdout == ""


def test_clean_never_follows_a_link(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "__pycache__").mkdir(parents=True)
    (elsewhere / "feature.bin").touch()
    for name in ("super_vertex", "demo", "single linkage"):
        (checkout.path / name).symlink_to(elsewhere)
    (checkout.path / "feature.bin").symlink_to(elsewhere / "feature.bin")
    result = checkout.run(script="run_clean.sh")
    assert result.returncode == 0
    assert (elsewhere / "feature.bin").exists()
    assert (elsewhere / "__pycache__").exists()
    assert not (checkout.path / "super_vertex").is_symlink()
    assert (checkout.path / "single linkage").is_symlink()


def test_clean_takes_no_argument(checkout):
    result = checkout.run("/", script="run_clean.sh")
    assert result.returncode == 2
    assert "takes no argument" in result.stderr


# --- run_demo.sh -------------------------------------------------------------------------------


def test_demo_refuses_an_option_in_the_place_of_the_list(run_script):
    result = run_script("run_demo.sh", "--strict")
    assert result.returncode == 2
    assert "run_demo.sh FOLDER --strict" in result.stderr
