"""report.py: what it writes, from what it can, what it refuses, and thumbnails made once."""

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from conftest import HOSTILE, KILLS, REPOSITORY, draw_images, make_people
from PIL import Image

from pipeline.corrections.said import save_corrections
from pipeline.files.clusters import read_clusters
from pipeline.files.corrections import Corrections, Person, corrections_json
from pipeline.files.features import read_features
from pipeline.files.json_object import write_json
from pipeline.report.html import SCRIPTS, TEMPLATES
from pipeline.report.thumbnails import thumbnail_key, thumbnail_place

USAGE, INPUT = 2, 3


def data_of(report="report"):
    """Everything the page can load, by name."""
    (folder,) = Path(report).glob("data-*")
    found = {}
    for path in folder.glob("*.js"):
        if path.name not in SCRIPTS:
            text = path.read_text("ascii")
            name, value = re.fullmatch(r"deliver\((\"\w+\"),(.*)\);\n", text.replace(", ", ",", 1)).groups()
            assert "<" not in text
            found[json.loads(name)] = json.loads(value)
    return found


def faces_of(data):
    """Of all shards together: rows, names, thumbs, fits."""
    shards = [data[f"faces_{number}"] for number in range(len(data["index"]["shards"]))]
    return {
        name: [value for shard in shards for value in shard[name]] for name in ("rows", "names", "thumbs")
    }


@pytest.fixture
def images(made):
    """An image for each row of `made`, whose list feature.json names."""
    draw_images(made)
    return made


def thumbnails():
    return {path: path.stat().st_mtime_ns for path in Path("report/thumbs").glob("*/*.jpg")}


def test_a_report_holds_every_face_and_says_where_it_is(images, stage):
    ended = stage("report")
    assert ended.code == 0, ended.err
    clusters = read_clusters(Path("clusters.txt"))
    people, alone = int((clusters.sizes > 1).sum()), int((clusters.sizes == 1).sum())
    assert ended.out.startswith(
        f"report/index.html: {people} people in {len(clusters.members) - alone} faces, "
        f"{alone} face{'s' * (alone != 1)} alone, 1 image unreadable or without a face, "
    )
    assert "next: open it in a browser" in ended.out
    data = data_of()
    assert data["index"]["sizes"] == clusters.sizes.tolist()
    assert data["index"]["people"] == people
    faces = faces_of(data)
    for first, last in zip(clusters.offsets, clusters.offsets[1:], strict=False):
        assert sorted(faces["rows"][first:last]) == clusters.members[first:last].tolist()
    names = Path("images/list.txt").read_text().split("\n")
    assert faces["names"] == [names[row] for row in faces["rows"]]
    assert all(thumbnail_place(Path("report/thumbs"), key).exists() for key in faces["thumbs"] if key)
    zero = int(np.flatnonzero(~read_features(Path("feature.bin")).usable)[0])
    assert data["unreadable"] == [[zero, names[zero], "its feature is zeros"]]


def test_the_page_is_static_and_needs_nothing_from_elsewhere(images, stage):
    assert stage("report").code == 0
    page = Path("report/index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert link.startswith(("#", "data:,")) or Path("report", link).is_file(), link
    for path in Path("report").glob("data-*/*"):
        if path.suffix in (".js", ".css", ".svg"):
            text = path.read_text()
            found = re.findall(r"https?://[^\s\"')<]+", text)
            assert [
                link
                for link in found
                if not re.match(r"http://(www\.w3\.org|purl\.org|creativecommons\.org)/", link)
            ] == []
            assert "fetch(" not in text and "innerHTML" not in text


def test_names_of_files_stand_in_no_page_and_end_no_script(images, stage):
    assert stage("report").code == 0
    page = Path("report/index.html").read_text()
    assert not any(name in page for name in HOSTILE)
    assert set(HOSTILE) <= set(faces_of(data_of())["names"])


def test_features_alone_make_a_report_of_numbers(made, stage):
    ended = stage("report")
    assert ended.code == 0 and "0 thumbnails" in ended.out
    data = data_of()
    assert data["faces_0"]["names"] is None and data["faces_0"]["thumbs"] is None
    assert not data["index"]["named"]


def test_a_list_given_takes_the_place_of_that_of_the_features(images, stage):
    assert stage("report", "--filelist", "images/list.txt").code == 0
    Path("short.txt").write_text("a.jpg\n")
    ended = stage("report", "--filelist", "short.txt")
    assert ended.code == INPUT and "short.txt: names 1 images but feature.bin has 202 rows" in ended.err


@pytest.mark.parametrize("labels", [False, True], ids=["no labels", "labels"])
def test_charts_are_svg_with_words_and_no_script(images, stage, labels):
    identities = make_people(people=20, images=10).labels
    Path("labels.txt").write_text("".join(f"{label}\n" for label in identities))
    assert stage("report", *(["--labels", "labels.txt"] if labels else [])).code == 0
    charts = {path.name: ElementTree.parse(path).getroot() for path in Path("report").glob("data-*/*.svg")}
    expected = {"sizes.svg", "similarities.svg", "predicted_iou.svg"}
    assert set(charts) == expected | ({"true_iou.svg", "ranking.svg"} if labels else set())
    for root in charts.values():
        assert root.tag.endswith("}svg")
        assert [one.tag for one in root.iter() if one.tag.endswith("script")] == []
    page = Path("report/index.html").read_text()
    assert page.count("<figure>") == len(charts)
    assert re.findall(r'<img [^>]*alt=""', page) == []
    if labels:
        assert "precision 1.0000" in page


def test_the_same_files_make_the_same_page(images, stage):
    assert stage("report").code == 0
    first = {path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()}
    assert stage("report").code == 0
    assert {path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()} == first


# --- thumbnails ----------------------------------------------------------------------------------


def test_thumbnails_are_made_once_and_again_where_an_image_changed(images, stage):
    assert stage("report").code == 0
    before = thumbnails()
    with Image.open(next(iter(before))) as image:
        assert image.format == "JPEG" and max(image.size) <= 128
    assert stage("report").code == 0
    assert thumbnails() == before
    Image.new("RGB", (300, 200), "red").save("images/0.jpg")
    assert stage("report").code == 0
    after = thumbnails()
    assert len(after) == len(before)
    assert len(set(after) - set(before)) == 1  # and the one it had before is gone
    assert {path: made for path, made in after.items() if path in before}.items() <= before.items()


def test_images_that_are_gone_or_damaged_do_not_stop_the_report(images, stage):
    data = Path("images/1.jpg").read_bytes()
    Path("images/0.jpg").unlink()
    Path("images/1.jpg").write_bytes(data[: len(data) // 2])
    Path("images/2.jpg").unlink()
    os.mkfifo("images/2.jpg")
    ended = stage("report")
    assert ended.code == 0
    assert "3 images cannot be read now, and are shown by number: the first is " in ended.err
    faces = faces_of(data_of())
    assert {row for row, key in zip(faces["rows"], faces["thumbs"], strict=True) if not key} == {0, 1, 2}


def test_any_number_of_threads_makes_the_same_thumbnails(images, stage):
    made = []
    for workers in ("1", "5"):
        assert stage("report", "--workers", workers, "--output", workers).code == 0
        made.append({path.name: path.read_bytes() for path in Path(workers, "thumbs").glob("*/*.jpg")})
    assert made[0] == made[1] and len(made[0]) > 100


def test_a_key_follows_path_time_and_size(tmp_path):
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    os.utime(second, ns=(0, first.stat().st_mtime_ns))
    assert thumbnail_key(first) != thumbnail_key(second)
    before = thumbnail_key(first)
    assert thumbnail_key(first) == before
    os.utime(first, ns=(0, 7))
    assert thumbnail_key(first) != before
    assert thumbnail_key(tmp_path / "none.jpg") == ""


@pytest.mark.slow
def test_killed_at_any_moment_the_earlier_report_opens_and_the_next_is_whole(images, stage):
    assert stage("report").code == 0
    whole = {path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()}
    labels = make_people(people=20, images=10).labels
    Path("labels.txt").write_text("".join(f"{label}\n" for label in labels))
    for seconds in np.random.default_rng(0).uniform(0.5, 3, KILLS):
        Path("images/0.jpg").touch()
        with subprocess.Popen(
            [sys.executable, REPOSITORY / "report.py", "--labels", "labels.txt"]
        ) as process:
            time.sleep(seconds)
            process.kill()
        page = Path("report/index.html").read_text()
        for link in re.findall(r'src="([^"]*)"', page):
            assert Path("report", link).is_file()
    os.utime("images/0.jpg", ns=(0, (Path("images/1.jpg")).stat().st_mtime_ns))
    assert stage("report").code == 0
    after = {path for path in Path("report").rglob("*") if path.is_file()}
    assert len(after) == len(whole) and not any(path.name.startswith(".") for path in after)


# --- what it refuses -----------------------------------------------------------------------------


def test_another_folder_is_never_replaced(images, stage):
    Path("photos").mkdir()
    Path("photos/mine.jpg").touch()
    ended = stage("report", "--output", "photos")
    assert ended.code == INPUT and "photos: holds other things than a report" in ended.err
    assert [path.name for path in Path("photos").iterdir()] == ["mine.jpg"]
    Path("site").mkdir()
    Path("site/index.html").write_text("<title>my site</title>")
    assert stage("report", "--output", "site").code == INPUT
    assert Path("site/index.html").read_text() == "<title>my site</title>"
    Path("years/data-2019").mkdir(parents=True)
    assert stage("report", "--output", "years").code == INPUT
    Path("small/thumbs/a").mkdir(parents=True)
    Path("small/thumbs/a/mine.jpg").touch()
    assert stage("report", "--output", "small").code == 0
    assert Path("small/thumbs/a/mine.jpg").exists()
    assert stage("report").code == 0
    Path("link").symlink_to("report")
    assert stage("report", "--output", "link").code == INPUT
    assert stage("report").code == 0


def test_files_that_do_not_belong_together_are_refused(images, stage):
    def refused(*words, options=()):
        ended = stage("report", *options)
        assert ended.code == INPUT and all(word in ended.err for word in words), ended
        assert not Path("report").exists()

    Path("labels.txt").write_text("1\n")
    refused("1 labels for 202 rows", options=("--labels", "labels.txt"))
    refused("none.json: not found", options=("--corrections", "none.json"))
    clusters = Path("clusters.txt").read_text()
    Path("clusters.txt").write_text("0 1\n2 9999\n")
    refused("not made with clusters.txt as it is now")
    Path("clusters.json").unlink()
    refused("clusters.txt: holds row 9999 but feature.bin has 202 rows")
    zero = int(np.flatnonzero(~read_features(Path("feature.bin")).usable)[0])
    Path("clusters.txt").write_text(f"{zero}\n")
    refused(f"holds row {zero}, whose feature is zeros")
    Path("clusters.txt").write_text(clusters)
    assert stage("report").code == 0  # clusters alone, without their JSON
    assert data_of()["index"]["iou"] is None


def test_clusters_of_other_features_are_refused(images, stage):
    values = json.loads(Path("clusters.json").read_text())
    Path("clusters.json").write_text(json.dumps(values | {"features_sha256": "0" * 64}))
    ended = stage("report")
    assert ended.code == INPUT and "clusters.txt: was made from other features" in ended.err


@pytest.mark.parametrize("options", [["--workers", "0"], ["--dim", "x"], ["clusters.txt"]])
def test_usage(images, stage, options):
    assert stage("report", *options).code == USAGE


# --- corrections ---------------------------------------------------------------------------------


@pytest.fixture
def corrected(images):
    """A corrections file: the first two people are one, Anna."""
    lines = [np.array(line.split(), np.int64) for line in Path("clusters.txt").read_text().splitlines()]
    said = Corrections([Person("Anna", lines[:2])], [(lines[2][:1], lines[2][1:])])
    saved = save_corrections(said, read_features(Path("feature.bin")), None)
    write_json(Path("corrections.json"), corrections_json(saved))
    return said


def test_corrections_are_shown_again(corrected, stage):
    assert stage("report", "--corrections", "corrections.json").code == 0
    shown = data_of()["index"]["corrections"]
    assert shown["people"] == [
        {"name": "Anna", "hidden": False, "parts": [part.tolist() for part in corrected.people[0].parts]}
    ]
    assert shown["apart"] == [[side.tolist() for side in corrected.apart[0]]]
    assert {face["cluster"] for face in shown["faces"]} == {0, 1, 2}


def test_the_clusters_own_corrections_are_found_again_and_never_lost_unsaid(corrected, stage):
    assert stage("predict", "--corrections", "corrections.json").code == 0
    ended = stage("report")
    assert ended.code == 0 and ended.err == ""
    index = data_of()["index"]
    assert index["corrections"]["people"][0]["name"] == "Anna" and index["names"] == []
    assert (
        len(
            {
                face["cluster"]
                for face in index["corrections"]["faces"]
                if face["row"] in corrected.people[0].rows
            }
        )
        == 1
    )
    Path("corrections.json").unlink()
    ended = stage("report")
    assert ended.code == 0 and "was made with corrections: give --corrections FILE" in ended.err
    assert [name for _, name in data_of()["index"]["names"]] == ["Anna"]


def test_a_report_of_one_face(tmp_path, stage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.eye(8, dtype="<f4")[:1].tofile("feature.bin")
    for name in ("proposal", "predict"):
        assert stage(name, "--dim", "8").code == 0
    ended = stage("report", "--dim", "8")
    assert ended.code == 0 and "0 people in 0 faces, 1 face alone, 0 thumbnails" in ended.out
    page = Path("report/index.html").read_text()
    assert 'id="unreadable-link" hidden' in page  # nothing to check, so no tab says 0


def test_the_pages_scripts_parse_and_have_short_lines():
    for name in SCRIPTS:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        assert max(map(len, text.split("\n"))) <= 110, name
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text
