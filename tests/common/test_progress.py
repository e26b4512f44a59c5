"""Progress is shown on a terminal for what takes over two seconds, and nowhere else; colours are off."""

import fcntl
import importlib
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from common import progress

import pytest
from conftest import REPOSITORY

SCRIPTS = ("evaluate", "export", "extract", "predict", "proposal", "report", "train")
LONG = """
import time
from common.profile import step
from common.progress import set_quiet, track
set_quiet({quiet})
with step("short step"):
    pass
with step("long step"):
    time.sleep(2.3)
with step("counted step"):
    for _ in track(range(25), "counting", "things"):
        time.sleep(0.1)
"""


def on_terminal(*command):
    """What a command writes to its stderr, which is a terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        stdout=its,
        stderr=its,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"NO_COLOR": "1", "FORCE_COLOR": ""},
    ):
        os.close(its)
        written = b""
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:  # Linux: the other end is closed
            pass
    os.close(ours)
    return written.decode()


def test_what_takes_long_is_shown_on_a_terminal():
    shown = on_terminal("-c", LONG.format(quiet=False))
    assert "long step ..." in shown and "short step" not in shown
    assert "counting" in shown and "/25" in shown
    assert "\x1b[3" not in shown


def test_the_first_line_comes_within_two_seconds_of_a_stage_with_an_amount():
    code = """
import time
from common import progress
progress._age_of_process = lambda: 1.5
progress.begin()
with progress.named("first step"):
    time.sleep(0.1)
with progress.named("second step"):
    time.sleep(1.7)
"""
    shown = on_terminal("-c", code)
    assert "first step" not in shown
    assert re.search("second step ... 0 s.*second step ... 1 s", shown, re.DOTALL)


def test_a_bar_takes_the_line_of_its_step_over():
    code = """
import time
from common import progress
with progress.named("a step"), progress.bar(40, "counting", "things") as bar:
    for _ in range(40):
        time.sleep(0.1)
        bar.update()
"""
    shown = on_terminal("-c", code)
    assert "a step" in shown or "counting" in shown
    assert "a step" not in shown[shown.index("counting") :] and "/40" in shown


def test_times_hold_the_start_of_the_interpreter():
    code = "import time; time.sleep(0.5); from common.progress import begin, elapsed\n"
    code += "begin(); print(elapsed()); begin(); print(elapsed())"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    first, second = map(float, ended.stdout.split())
    assert first > 0.5 and second < 0.5  # of another stage in the same process


def test_quiet_shows_nothing():
    assert on_terminal("-c", LONG.format(quiet=True)) == ""


def test_nothing_is_shown_where_there_is_no_terminal():
    code = LONG.format(quiet=False)
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_log_file_tells_of_steps_that_took_long(monkeypatch, capsys):
    with progress.named("a short step"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LONG", 0)
    with progress.named("a long step"):
        pass
    assert capsys.readouterr().err == "a long step: 0 s\n"
    monkeypatch.setattr(progress, "_quiet", True)
    with progress.named("a long step"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_has_no_colours_with_no_color(name):
    shown = importlib.import_module(name).get_parser().format_help()
    assert "examples:" in shown and "\x1b" not in shown


def test_help_on_a_terminal_has_no_colours_with_no_color():
    shown = on_terminal("export.py", "--help")
    assert "examples:" in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "plain"), [(True, "", False), (True, "1", True), (False, "", True)]
)
def test_errors_are_red_and_the_next_command_bold_on_a_terminal(
    monkeypatch, capsys, is_terminal, no_color, plain
):
    monkeypatch.setenv("NO_COLOR", no_color)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)
    progress.warn("run_x.sh: error: a.txt: not found")
    progress.log("a.txt: done; next: sh run_y.sh")
    out, err = capsys.readouterr()
    assert ("\x1b" not in out + err) == plain
    if not plain:
        assert "\x1b[31merror:\x1b[0m a.txt" in err and "next: \x1b[1msh run_y.sh\x1b[0m" in out


def test_nouns_agree_with_their_number():
    assert [progress.count(number, "face") for number in (0, 1, 1204)] == ["0 faces", "1 face", "1,204 faces"]
    assert progress.count(1, "person", "people") == "1 person"
