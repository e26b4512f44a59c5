"""Whole or absent, one at a time."""

import subprocess
import sys

from common.errors import EnvironmentFault, InputError

import pytest
from conftest import REPOSITORY

from pipeline.files import digest_file, only_run, part_path, whole_file, whole_folder


def test_a_file_is_there_only_when_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        assert path.read_text() == "earlier"
        raise RuntimeError
    assert path.read_text() == "earlier"
    with whole_file(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_takes_the_place_of_an_earlier_one_only_when_whole(tmp_path):
    path = tmp_path / "folder"
    for number in (1, 2):
        with whole_folder(path) as part:
            (part / f"{number}").touch()
    with pytest.raises(RuntimeError), whole_folder(path) as part:
        (part / "3").touch()
        raise RuntimeError
    assert [entry.name for entry in path.iterdir()] == ["2"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_left_does_not_hinder(tmp_path):
    path = tmp_path / "folder"
    part_path(path).mkdir()
    (part_path(path) / "left").touch()
    with whole_folder(path) as part:
        assert list(part.iterdir()) == []
    assert list(path.iterdir()) == []


def test_links_and_files_are_not_ours_to_replace(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(InputError, match="is not a folder of this tool"), whole_folder(tmp_path / name):
            pass
    assert (tmp_path / "real" / "mine").exists()


def test_a_second_run_is_refused_while_the_first_is_at_work(start_process, tmp_path):
    program = "import sys; from pathlib import Path; from pipeline.files import only_run\n"
    program += "with only_run(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    first = start_process(
        [sys.executable, "-c", program, tmp_path],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout.readline() == b"held\n"
    with pytest.raises(EnvironmentFault, match="another run is writing here"), only_run(tmp_path):
        pass
    first.kill()
    first.communicate()
    with only_run(tmp_path):
        pass


def test_the_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest_file(tmp_path / "abc").startswith("ba7816bf8f01cfea")
