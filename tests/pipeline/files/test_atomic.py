"""Whole or absent, one at a time."""

import errno
import fcntl
import os
import subprocess
import sys

from common.errors import EnvironmentFault, InputError

import pytest
from conftest import REPOSITORY

from pipeline.files.atomic import (
    clear_up,
    digest_file,
    part_path,
    refuse_foreign,
    whole_file,
    whole_folder,
)
from pipeline.files.locks import only_run


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
        with whole_folder(path, holds=("*",)) as part:
            (part / f"{number}").touch()
    with pytest.raises(RuntimeError), whole_folder(path, holds=("*",)) as part:
        (part / "3").touch()
        raise RuntimeError
    assert [entry.name for entry in path.iterdir()] == ["2"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_left_does_not_hinder(tmp_path):
    path = tmp_path / "folder"
    part_path(path).mkdir()
    (part_path(path) / "left").touch()
    with whole_folder(path, holds=("*",)) as part:
        assert list(part.iterdir()) == []
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("left", ["old and part", "old"])
def test_a_run_killed_while_its_folder_took_the_place_is_completed(tmp_path, left):
    path = tmp_path / "folder"
    for number in (1, 2) if left == "old and part" else (1,):
        with whole_folder(path, holds=("*",)) as part:
            (part / f"{number}").touch()
        path.rename(tmp_path / ("old", ".folder.face-clusters-part")[number - 1])
    (tmp_path / "old").rename(tmp_path / ".folder.face-clusters-old")
    clear_up(path)
    assert [entry.name for entry in path.iterdir()] == ["2" if left == "old and part" else "1"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_with_foreign_files_is_not_ours_to_replace(tmp_path):
    path = tmp_path / "photos"
    path.mkdir()
    (path / "mine.jpg").touch()
    with pytest.raises(InputError, match="holds mine.jpg"), whole_folder(path, holds=("*.npy",)):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"] and (path / "mine.jpg").exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "device", "dangling"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    path, other = tmp_path / "out.txt", tmp_path / "other"
    other.write_text("mine")
    {
        "link": lambda: path.symlink_to(other),
        "dangling": lambda: path.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/stdout"),
    }[kind]()
    before = path.lstat()
    with pytest.raises(InputError, match=r"out.txt: is no regular file"), whole_file(path):
        pass
    assert path.lstat() == before and other.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_planted_at_the_place_of_a_part_is_not_followed(tmp_path, kind):
    path, outside = tmp_path / "in" / "out.txt", tmp_path / "outside"
    path.parent.mkdir()
    outside.write_text("mine")
    part = part_path(path)
    part.symlink_to(outside) if kind == "link" else os.mkfifo(part)
    with whole_file(path) as part, open(part, "w") as file:
        file.write("whole")
    assert path.read_text() == "whole" and not path.is_symlink() and outside.read_text() == "mine"
    folder = tmp_path / "in" / "folder"
    part_path(folder).symlink_to(tmp_path) if kind == "link" else os.mkfifo(part_path(folder))
    with whole_folder(folder, holds=("*",)) as part:
        (part / "a").touch()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["folder", "out.txt"]
    assert not (tmp_path / "a").exists()


def test_a_file_of_somebody_else_is_told_by_its_head(tmp_path):
    path, beside = tmp_path / "a.txt", tmp_path / "a.json"
    refuse_foreign(path, b"mark", beside)
    path.write_text("1 2\n")
    for content in (None, "another"):
        if content:
            beside.write_text(content)
        with pytest.raises(InputError, match=r"a.txt: is there and was not written by this command"):
            refuse_foreign(path, b"mark", beside)
    beside.write_text("{mark")
    refuse_foreign(path, b"mark", beside)
    refuse_foreign(beside, b"mark")


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with only_run(tmp_path):
        pass
    assert "has no locks" in capsys.readouterr().err


def test_links_and_files_are_not_ours_to_replace(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with (
            pytest.raises(InputError, match="is not a folder of this tool"),
            whole_folder(tmp_path / name, holds=("*",)),
        ):
            pass
    assert (tmp_path / "real" / "mine").exists()


def test_a_second_run_is_refused_while_the_first_is_at_work(start_process, tmp_path):
    program = "import sys; from pathlib import Path; from pipeline.files.locks import only_run\n"
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


def test_what_lies_deep_in_a_folder_is_not_ours_to_remove(tmp_path):
    path = tmp_path / "folder"
    holds = ("round_*", "round_*/a.npy")
    with whole_folder(path, holds) as part:
        (part / "round_0").mkdir()
        (part / "round_0" / "a.npy").touch()
    with whole_folder(path, holds) as part:
        (part / "round_0").mkdir()
    (path / "round_0" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"holds round_0/mine.txt"), whole_folder(path, holds):
        pass
    assert (path / "round_0" / "mine.txt").exists()


def test_names_like_those_of_other_tools_are_left_alone(tmp_path):
    for name in (".folder.old", ".folder.part", ".folder~", ".a.txt.part"):
        (tmp_path / name).write_text("mine")
    with whole_folder(tmp_path / "folder", ("a",)), whole_file(tmp_path / "a.txt") as part:
        part.touch()
    with whole_folder(tmp_path / "folder", ("a",)):
        pass
    mine = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(mine) == 4 and all(path.read_text() == "mine" for path in mine)
