"""The photos that a command line names."""

import os

from common.errors import InputError

import pytest

from pipeline.photos.listing import find_photos


def names(tmp_path, *given, besides="faces"):
    found = find_photos([tmp_path / name for name in given], tmp_path / besides)
    return [str(path.relative_to(tmp_path)) for path in found]


def make(tmp_path, *paths):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()


def test_a_folder_is_searched_in_the_order_of_its_names(tmp_path):
    make(
        tmp_path,
        "in/b.JPG",
        "in/a/z.heic",
        "in/Z.png",
        "in/ä.jpg",
        "in/c/d/e.tif",
        "in/b.jpg.txt",
        "in/v.mov",
    )
    assert names(tmp_path, "in") == ["in/Z.png", "in/a/z.heic", "in/b.JPG", "in/c/d/e.tif", "in/ä.jpg"]


def test_hidden_files_and_the_output_are_left_alone(tmp_path):
    make(tmp_path, "a.jpg", ".b.jpg", ".trash/c.jpg", "faces/a-0123456789ab-1.jpg")
    assert names(tmp_path, ".") == ["a.jpg"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, "in/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    assert names(tmp_path, "in") == ["in/a.jpg", "in/there/b.jpg"]


def test_photos_folders_and_lists_may_be_mixed_and_each_path_counts_once(tmp_path):
    make(tmp_path, "in/a.jpg", "in/b.jpg", "c.jpeg")
    (tmp_path / "list.txt").write_text("in/b.jpg\nd.jpg\n")
    assert names(tmp_path, "c.jpeg", "list.txt", "in") == ["c.jpeg", "in/b.jpg", "d.jpg", "in/a.jpg"]


def test_bytes_that_are_no_text_are_a_name_too(tmp_path):
    os.mkdir(tmp_path / "in")  # noqa: PTH102
    path = os.fsencode(tmp_path / "in") + b"/\xff.jpg"
    with open(path, "wb"):
        pass
    assert [os.fsencode(found) for found in find_photos([tmp_path / "in"], tmp_path)] == [path]


@pytest.mark.parametrize(("given", "words"), [("none", "not found"), ("empty", "holds no photo")])
def test_what_holds_no_photo_is_refused(tmp_path, given, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        names(tmp_path, given)
