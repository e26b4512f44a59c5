"""pipeline.files.filelist: what a list may look like, and where its relative paths lead."""

import os
import subprocess
import sys
import unicodedata

from common.errors import InputError

import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.filelist import read_filelist


def test_bom_crlf_blank_lines_spaces_and_non_ascii_names(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa b.jpg\r\n\r\n   \nü/名.jpg\n x\u2028y .png".encode())
    names = read_filelist(path).names
    assert names == ["a b.jpg", "ü/名.jpg", " x\u2028y .png"]


def test_relative_paths_lead_to_the_lists_folder_or_failing_that_to_the_working_directory(
    tmp_path, monkeypatch
):
    folder, work = tmp_path / "faces", tmp_path / "work"
    for place, name in ((folder, "both.jpg"), (work, "both.jpg"), (work, "here.jpg")):
        place.mkdir(exist_ok=True)
        (place / name).touch()
    path = folder / "list.txt"
    path.write_text(f"both.jpg\nhere.jpg\nnowhere.jpg\n{work}/here.jpg\n")
    monkeypatch.chdir(work)
    assert [place.absolute() for place in read_filelist(path).paths] == [
        folder / "both.jpg",
        work / "here.jpg",
        folder / "nowhere.jpg",
        work / "here.jpg",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\n \n", "names no image"), (b"\xff\xfe", "is no UTF-8 text"), (None, "not found")],
)
def test_a_list_without_images_is_refused(tmp_path, content, words):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_filelist(path)


def test_names_that_no_file_can_have_are_rows_like_any_other(tmp_path):
    path = tmp_path / "list.txt"
    (tmp_path / "loop").symlink_to("loop")
    path.write_text(f"{'long' * 1000}.jpg\nloop/a.jpg\nlist.txt/a.jpg\n\x1b[31mred.jpg\nlist.txt\nlist.txt\n")
    assert len(read_filelist(path).paths) == 6


def test_non_ascii_names_are_found_in_any_locale(tmp_path):
    (tmp_path / "ü 名.jpg").touch()
    (tmp_path / "list.txt").write_text("ü 名.jpg\n", encoding="utf-8")
    program = "import sys; from pathlib import Path; from pipeline.files.filelist import read_filelist\n"
    program += "print(read_filelist(Path(sys.argv[1])).paths[0].exists())"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "list.txt"],
        cwd=REPOSITORY,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n", done.stderr


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_bytes_are_a_list_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_bytes(data)
    try:
        filelist = read_filelist(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert len(filelist.paths) == len(filelist.names) > 0
        assert all(name.strip() and "\n" not in name for name in filelist.names)


@pytest.mark.parametrize(
    "written",
    [
        '"a face.jpg"',
        "'a face.jpg'",
        "  a face.jpg ",
        "a face.jpg 17",
        "a face.jpg -1",
        "sub\\..\\a face.jpg",
        "file://{folder}/a%20face.jpg",
        "~/a face.jpg",
    ],
)
def test_lines_as_other_programs_write_them_lead_to_their_images(tmp_path, monkeypatch, written):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a face.jpg").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.txt").write_text(written.format(folder=tmp_path) + "\n")
    (found,) = read_filelist(tmp_path / "list.txt").paths
    assert found.samefile(tmp_path / "a face.jpg")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_in_the_other_unicode_form_leads_to_its_image(tmp_path, form):
    on_disk = unicodedata.normalize({"NFC": "NFD", "NFD": "NFC"}[form], "Zoë.jpg")
    (tmp_path / on_disk).touch()
    (tmp_path / "list.txt").write_text(unicodedata.normalize(form, "Zoë.jpg"), "utf-8")
    assert read_filelist(tmp_path / "list.txt").paths == [tmp_path / on_disk]


def test_a_file_of_the_very_name_is_taken_before_any_other(tmp_path):
    for name in ("a.jpg", "a.jpg 1"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("a.jpg 1\n")
    assert read_filelist(tmp_path / "list.txt").paths == [tmp_path / "a.jpg 1"]


def test_names_that_end_with_nul_may_hold_line_breaks(tmp_path):
    names = ["two\nlines.jpg", "plain.jpg"]
    (tmp_path / "list.txt").write_text("".join(f"{name}\0" for name in names))
    assert read_filelist(tmp_path / "list.txt").names == names


def test_a_folder_is_told_what_to_do(tmp_path):
    with pytest.raises(InputError, match="is a folder, not a file list: for photos, run `sh run_align.sh"):
        read_filelist(tmp_path)
