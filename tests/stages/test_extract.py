"""Extraction as users run it: rows in the list's order, nothing lost, nothing mixed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count

import numpy as np
import pytest
from conftest import KILLS, REPOSITORY, LazyModule, quickest, wait_until
from PIL import Image

from pipeline.files.journal import drop_journal
from pipeline.files.locks import only_run

torch, backbones = LazyModule("torch"), LazyModule("model.backbones")

FACES = 40
# Small pieces, so that a run can be killed between them, and one thread, so that they come one by one.
PIECES = ("--batch-size", "4", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty smooth pictures and the list that names them."""
    folder = tmp_path_factory.mktemp("faces and spaces")
    rng = np.random.default_rng(0)
    for number in range(FACES):
        small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
        small.resize((112, 112), Image.Resampling.BICUBIC).save(folder / f"face {number}.jpg", quality=90)
    (folder / "faces.txt").write_text("".join(f"face {number}.jpg\n" for number in range(FACES)))
    return folder


@pytest.fixture
def extract(stage, tmp_path, monkeypatch):
    """Run extract.py into the test's own folder, in this process; returns how it ended."""
    monkeypatch.chdir(tmp_path)

    def run(filelist, *options, check=True):
        done = stage("extract", filelist, *PIECES, *options)
        assert not check or done.code == 0, done.err
        return done

    return run


def command(filelist):
    return [sys.executable, "-W", "ignore", str(REPOSITORY / "extract.py"), str(filelist), *PIECES]


def rows(path, dim=128):
    return np.fromfile(path / "feature.bin", "<f4").reshape(-1, dim)


def meta(path):
    return json.loads((path / "feature.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """feature.bin of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(folder / "faces.txt"), cwd=path, check=True, capture_output=True)
    return (path / "feature.bin").read_bytes()


def test_unreadable_images_leave_rows_of_zeros_where_they_stand(folder, extract, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [
        str(folder / "face 0.jpg"),
        "broken.jpg",
        "",
        "pipe.jpg",
        "missing.jpg",
        str(folder / "face 1.jpg"),
    ]
    (tmp_path / "list.txt").write_bytes("\r\n".join(names).encode("utf-8-sig"))
    done = extract(tmp_path / "list.txt")
    got = rows(tmp_path)
    assert (np.abs(got).sum(1) > 0).tolist() == [True, False, False, False, True]
    unreadable = meta(tmp_path)["unreadable"]
    assert [entry["row"] for entry in unreadable] == [1, 2, 3]
    assert [entry["path"] for entry in unreadable] == ["broken.jpg", "pipe.jpg", "missing.jpg"]
    assert "not a regular file" in unreadable[1]["reason"]
    said = "5 images (4 new, 0 changed, 0 gone, 0 used again), 3 of them unreadable, listed in "
    assert f"{said}feature.json, in " in done.out


def test_strict_and_nothing_readable_are_errors(folder, extract, tmp_path):
    (tmp_path / "list.txt").write_text(f"{folder / 'face 0.jpg'}\nmissing.jpg\n")
    done = extract(tmp_path / "list.txt", "--strict", check=False)
    assert (done.code, "missing.jpg: not found" in done.err) == (3, True)
    (tmp_path / "list.txt").write_text("missing.jpg\n")
    done = extract(tmp_path / "list.txt", check=False)
    assert done.code == 3 and "no image could be read" in done.err
    assert not (tmp_path / "feature.bin").exists() and done.err.count("\n") == 1


def test_a_finished_output_is_not_computed_again(folder, extract, tmp_path, undisturbed):
    extract(folder / "faces.txt")
    before = (tmp_path / "feature.bin").stat().st_mtime_ns
    assert "is done already" in extract(folder / "faces.txt").out
    assert (tmp_path / "feature.bin").stat().st_mtime_ns == before
    extract(folder / "faces.txt", "--restart")
    assert (tmp_path / "feature.bin").read_bytes() == undisturbed


def test_of_a_grown_list_only_the_new_lines_are_computed(folder, extract, tmp_path, undisturbed):
    names = [str(folder / line) for line in (folder / "faces.txt").read_text().splitlines()]
    (tmp_path / "list.txt").write_text("\n".join(names[:20]))
    extract(tmp_path / "list.txt")
    first = rows(tmp_path).copy()
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert f"{FACES} images (20 new, 0 changed, 0 gone, 20 used again)" in extract(tmp_path / "list.txt").out
    np.testing.assert_array_equal(rows(tmp_path)[:20], first)
    assert (tmp_path / "feature.bin").read_bytes() == undisturbed
    assert meta(tmp_path)["count"] == FACES


@pytest.fixture
def own(folder, tmp_path):
    """A folder of a few images of one's own, and their list."""
    work = tmp_path / "own"
    work.mkdir()
    for number in range(6):
        shutil.copy(folder / f"face {number}.jpg", work)
    write_list(work, range(6))
    return work


def write_list(work, numbers):
    (work / "list.txt").write_text("".join(f"face {number}.jpg\n" for number in numbers))


def test_rows_follow_their_images_in_any_order(own, extract, tmp_path):
    extract(own / "list.txt")
    first = rows(tmp_path).copy()
    write_list(own, [4, 3, 5, 0])  # sorted anew, two removed
    assert "(0 new, 0 changed, 2 gone, 4 used again)" in extract(own / "list.txt").out
    np.testing.assert_array_equal(rows(tmp_path), first[[4, 3, 5, 0]])


def test_a_picture_replaced_under_its_name_is_computed_again(own, folder, extract, tmp_path):
    extract(own / "list.txt")
    first = rows(tmp_path).copy()
    shutil.copy(folder / "face 9.jpg", own / "face 2.jpg")
    os.utime(own / "face 4.jpg")  # touched alone
    assert "(0 new, 1 changed, 0 gone, 5 used again)" in extract(own / "list.txt").out
    moved = np.abs(rows(tmp_path) - first).max(axis=1) > 0.01
    assert moved.tolist() == [False, False, True, False, False, False]
    assert "is done already" in extract(own / "list.txt").out


def test_a_repaired_image_is_read_without_computing_the_others(own, folder, extract, tmp_path):
    (own / "face 3.jpg").write_bytes(b"no image")
    extract(own / "list.txt")
    assert "is done already, 1 of them unreadable, listed in" in extract(own / "list.txt").out
    shutil.copy(folder / "face 3.jpg", own)
    assert (
        "(1 new, 0 changed, 0 gone, 5 used again), 0 of them unreadable, in" in extract(own / "list.txt").out
    )
    assert rows(tmp_path).any(axis=1).all() and meta(tmp_path)["unreadable"] == []


def test_a_moved_library_is_found_by_its_new_list(own, extract, tmp_path):
    extract(own / "list.txt")
    own.rename(tmp_path / "moved")
    assert "is done already" in extract(tmp_path / "moved/list.txt").out
    assert meta(tmp_path)["filelist"] == str(tmp_path / "moved/list.txt")


def test_two_lists_of_the_same_names_in_two_folders_are_two(own, folder, extract, tmp_path):
    extract(own / "list.txt")
    other = tmp_path / "other"
    other.mkdir()
    for number in range(6):
        shutil.copy(folder / f"face {number + 10}.jpg", other / f"face {number}.jpg")
    write_list(other, range(6))
    assert "(6 new, 0 changed, 6 gone, 0 used again)" in extract(other / "list.txt").out


def test_features_of_images_that_are_not_there_now_are_kept(own, extract, tmp_path):
    extract(own / "list.txt")
    first = rows(tmp_path).copy()
    (own / "face 1.jpg").unlink()
    shutil.copy(own / "face 2.jpg", own / "face 7.jpg")
    write_list(own, [0, 1, 2, 7])
    assert "1 not there now, their features kept" in extract(own / "list.txt").out
    np.testing.assert_array_equal(rows(tmp_path), first[[0, 1, 2, 2]])


def test_a_stopped_run_of_another_list_gives_its_rows(own, folder, extract, start_process, tmp_path):
    process = start_process(command(folder / "faces.txt"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    part = tmp_path / ".feature.bin.face-clusters-part"
    wait_until(process, lambda: part.exists() and part.stat().st_size >= 3 * 4 * 512)
    process.kill()
    process.wait()
    names = [str(folder / f"face {number}.jpg") for number in (20, 3, 2, 1)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert "(1 new, 0 changed," in extract(tmp_path / "list.txt").out
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_pictures_that_are_no_usable_crops_are_told_of(own, extract, tmp_path):
    face = Image.open(own / "face 0.jpg")
    face.crop((20, 0, 92, 112)).save(own / "face 1.jpg")
    face.resize((20, 20)).save(own / "face 2.jpg")
    face.resize((2, 2)).resize((112, 112), Image.Resampling.BICUBIC).save(own / "face 3.jpg")
    Image.new("RGB", (112, 112), "gray").save(own / "face 4.jpg")
    done = extract(own / "list.txt")
    told = {kind["what"]: (kind["count"], kind["first"]) for kind in meta(tmp_path)["doubtful"]}
    assert told["not square"] == (1, ["face 1.jpg"])
    assert told["smaller than 32 pixels"] == (1, ["face 2.jpg"])
    assert told["blurred"][0] >= 1
    assert [(e["row"], e["reason"][:13]) for e in meta(tmp_path)["unreadable"]] == [(4, "shows nothing")]
    assert "1 image is not square, the first is face 1.jpg" in done.err
    assert "is not square" in extract(own / "list.txt").err  # also where it is done already


def test_images_that_are_not_there_cost_no_forward_pass(own, extract, tmp_path):
    lines = "".join(f"none {number}.jpg\n" for number in range(3000))
    (own / "list.txt").write_text("face 0.jpg\n" + lines + "face 1.jpg\n")
    started = time.process_time()
    extract(own / "list.txt")
    assert time.process_time() - started < 15  # a forward pass for each would take over 30
    assert len(meta(tmp_path)["unreadable"]) == 3000 and rows(tmp_path)[[0, -1]].any(axis=1).all()


@pytest.mark.slow
def test_killed_runs_go_on_and_end_in_the_same_bytes(folder, extract, start_process, tmp_path, undisturbed):
    rng = np.random.default_rng(0)
    part = tmp_path / ".feature.bin.face-clusters-part"
    killed = resumed = 0
    while killed < KILLS:
        target = (part.stat().st_size if part.exists() else -1) + rng.integers(0, 3) * 4 * 512
        process = start_process(command(folder / "faces.txt"), cwd=tmp_path, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (part.exists() and part.stat().st_size > target):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
            resumed += part.exists() and part.stat().st_size > 0
        else:
            assert (tmp_path / "feature.bin").read_bytes() == undisturbed
            (tmp_path / "feature.bin").unlink()  # and begin anew
        process.wait()
    assert resumed
    extract(folder / "faces.txt")
    assert (tmp_path / "feature.bin").read_bytes() == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "feature.bin",
        "feature.images",
        "feature.json",
    ]


@pytest.mark.slow
def test_killed_before_each_renaming_nothing_is_computed_twice(
    folder, extract, start_process, tmp_path, undisturbed
):
    images = shutil.copytree(folder, tmp_path / "images")
    for number in count(1):
        work = tmp_path / f"work {number}"
        work.mkdir()
        program, *arguments = command(images / "faces.txt")
        die_at = [str(REPOSITORY / "tests/die_at.py"), str(number)]
        process = start_process([program, *die_at, *arguments[2:]], cwd=work, stdout=subprocess.DEVNULL)
        if process.wait(120) == 0:
            break
        assert process.returncode == -signal.SIGKILL
        if number > 1:  # every row was there: no image is needed any more
            images.rename(tmp_path / "elsewhere")
            (tmp_path / "images").mkdir()
            shutil.copy(tmp_path / "elsewhere/faces.txt", images)
        extract(images / "faces.txt", "--output", work / "feature.bin")
        assert (work / "feature.bin").read_bytes() == undisturbed
        assert meta(work)["unreadable"] == []
        assert sorted(path.name for path in work.iterdir()) == [
            "feature.bin",
            "feature.images",
            "feature.json",
        ]
        if number > 1:
            shutil.rmtree(images)
            (tmp_path / "elsewhere").rename(images)
    assert number == 5  # the journal, the features, their images and their JSON


def test_a_piece_damaged_on_disk_is_computed_again(folder, extract, start_process, tmp_path, undisturbed):
    process = start_process(command(folder / "faces.txt"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    part, journal = (
        tmp_path / ".feature.bin.face-clusters-part",
        tmp_path / ".feature.bin.face-clusters-journal",
    )
    wait_until(process, lambda: part.exists() and part.stat().st_size >= 3 * 4 * 512)
    process.kill()
    process.wait()
    data = bytearray(part.read_bytes())
    data[5 * 512] ^= 1
    part.write_bytes(data)
    journal.write_text(journal.read_text() + '{"end": 9')
    extract(folder / "faces.txt")
    assert (tmp_path / "feature.bin").read_bytes() == undisturbed


def test_ctrl_c_ends_soon_and_says_how_to_go_on(folder, start_process, tmp_path):
    def interrupted():
        drop_journal(tmp_path / "feature.bin")
        process = start_process(
            command(folder / "faces.txt"), cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        wait_until(process, (tmp_path / ".feature.bin.face-clusters-journal").exists)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        seconds = time.monotonic() - started
        assert process.returncode == 130
        assert stderr.splitlines()[-1].endswith("run the same command again: it goes on where it stopped")
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        return seconds

    assert quickest(interrupted, enough=2) < 2


def test_a_second_run_into_one_folder_is_refused(folder, extract, tmp_path):
    with only_run(tmp_path):
        second = extract(folder / "faces.txt", check=False)
    assert second.code == 4 and "another run is writing here" in second.err
    assert list(tmp_path.iterdir()) == []


def test_another_network_never_mixes_with_earlier_rows(folder, extract, tmp_path):
    extract(folder / "faces.txt")
    torch.manual_seed(0)
    torch.save(backbones.IResNet(backbones.IRESNET_BLOCKS["iresnet18"]).state_dict(), tmp_path / "r18.pth")
    (tmp_path / "list.txt").write_text(f"{folder / 'face 0.jpg'}\n")
    extract(tmp_path / "list.txt", "--model", "iresnet18", "--weights", "r18.pth")
    assert rows(tmp_path, 512).shape == (1, 512) and meta(tmp_path)["model"] == "iresnet18"


def test_lists_that_are_none(extract, tmp_path):
    for name, content, words in (
        ("none.txt", None, "not found"),
        ("empty.txt", b"", "names no image"),
        ("binary.txt", b"\xff\xfe\x00", "no UTF-8 text"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = extract(tmp_path / name, check=False)
        assert (done.code, done.err.count("\n")) == (3, 1)
        assert name in done.err and words in done.err


def test_what_extraction_did_not_write_is_not_replaced(own, extract, tmp_path):
    for name in ("feature.bin", "feature.json", "feature.images"):
        (tmp_path / name).write_bytes(b"{} somebody's own")
        done = extract(own / "list.txt", check=False)
        assert done.code == 3 and f"{name}: is there and was not written by this command" in done.err
        assert (tmp_path / name).read_bytes() == b"{} somebody's own"
        (tmp_path / name).unlink()
