"""pipeline.filelist: what a list may look like, and where its relative paths lead."""

from common.errors import InputError

import pytest

from pipeline.filelist import read_filelist


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
