"""How every script ends: by Ctrl-C, once or twice, and where a file is cut short under a memory map."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY

HEAD = """
import os, sys, threading, time
from pathlib import Path
import numpy as np
from common import cli
from common.inputs import watch_size
from pipeline.rows import blocks

def wait(word):
    print(word, flush=True)
    time.sleep(60)
"""
RUN = "\nsys.exit(cli.run(main, cli.make_parser('run_x.sh', 'x', 'x'), sys.argv[1:]))"
CLEARS_UP = """
def main(args):
    try:
        wait('at work')
    finally:
        wait('clearing up')
"""
READS = """
def main(args):
    rows = np.memmap(Path('rows'), np.float32, 'r', shape=(1 << 20, 4))
    watch_size(Path('rows'))
    os.truncate('rows', 100)
    {}
"""


@pytest.fixture
def start(start_process, tmp_path):
    def run(program, **options):
        return start_process(
            [sys.executable, "-c", HEAD + program + RUN],
            cwd=tmp_path,
            env={"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **options,
        )

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_ends_at_once_with_the_one_line(start, number):
    process = start(CLEARS_UP)
    for word in ("at work\n", "clearing up\n"):
        assert process.stdout.readline() == word
        process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert err == ("run_x.sh: interrupted; run the same command again: it starts this stage anew\n")


def test_a_command_in_the_background_goes_on_at_ctrl_c(start):
    process = start(CLEARS_UP, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)


@pytest.mark.parametrize(
    "read",
    [
        "list(blocks(rows))",
        "rows.sum()",  # past the check
        "thread = threading.Thread(target=rows.sum); thread.start(); thread.join()",
        "time.sleep(0); np.add.reduce(rows[1 << 19:], axis=0)",
    ],
)
def test_a_file_cut_short_under_its_reader_is_named(start, tmp_path, read):
    (tmp_path / "rows").write_bytes(bytes(1 << 24))
    process = start(READS.format(read))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert err.startswith("run_x.sh: error: rows: was cut short while it was read") and err.count("\n") == 1


def test_a_path_that_cannot_be_is_one_line(start_process):
    name = "n" * 300 + ".txt"
    process = start_process(
        [sys.executable, REPOSITORY / "predict.py", "--output", name], stderr=subprocess.PIPE, text=True
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode in (2, 3, 4) and err.count("\n") == 1 and "Traceback" not in err
