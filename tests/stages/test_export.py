"""export.py by its command: folders, CSV and JSON, with names from files taken as data."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import REPOSITORY

from pipeline.exports import as_file_name
from pipeline.files.written import JOURNAL

NAMES = ["a/face.jpg", "b/face.jpg", 'a/=1+2,"x".jpg', "b/ü 名.jpg", "a/gone unread.jpg", "b/-lone.jpg"]
CLUSTERS = "0 1 3\n2\n5\n"


@pytest.fixture
def work(tmp_path):
    """A working directory as the stages leave it: six images, the fifth unreadable, three people."""
    for row, name in enumerate(NAMES):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"image {row}")
    filelist = tmp_path / "images" / "list.txt"
    filelist.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    meta = {
        "format": 1,
        "filelist": str(filelist),
        "filelist_sha256": hashlib.sha256(filelist.read_bytes()).hexdigest(),
        "feature_sha256": "f" * 64,
    }
    work = tmp_path / "work"
    work.mkdir()
    (work / "feature.json").write_text(json.dumps(meta))
    (work / "clusters.txt").write_text(CLUSTERS)
    write_cluster_json(work)
    return work


def write_cluster_json(work, **changes):
    scores = changes.pop("predicted_iou", [0.9, 1, 0.5])
    digest = hashlib.sha256((work / "clusters.txt").read_bytes()).hexdigest()
    values = {"format": 1, "count": len(scores), "clusters_sha256": digest, "features_sha256": "f" * 64}
    (work / "clusters.json").write_text(json.dumps(values | {"predicted_iou": scores} | changes))


@pytest.fixture
def export(run_script, work):
    return lambda *arguments: run_script("run_export.sh", *arguments, cwd=work)


def exported(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*")}


FOLDERS = {
    "person_1/0_face.jpg": "image 0",
    "person_1/1_face.jpg": "image 1",
    "person_1/3_ü 名.jpg": "image 3",
    'person_2/2_=1+2,"x".jpg': "image 2",
    "person_3/5_-lone.jpg": "image 5",
}


def test_folders_of_links(export, work):
    result = export()
    assert result.returncode == 0, result.stderr
    assert exported(work / "export") == FOLDERS
    assert all(path.is_symlink() for path in (work / "export").glob("*/*"))
    assert result.stdout.startswith("wrote export: 1 person in 3 faces, 2 faces alone, 1 image unreadable or")


def test_folders_of_copies_into_another_place(export, work):
    result = export("--to", "folders", "--copy", "--output", "the people")
    assert result.returncode == 0, result.stderr
    assert exported(work / "the people") == FOLDERS
    assert not any(path.is_symlink() for path in (work / "the people").glob("*/*"))


def test_csv(export, work):
    assert export("--to", "csv").returncode == 0
    with open(work / "export.csv", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["path", "cluster", "confidence"]
    images = work.parent / "images"
    assert lines == [
        [str(images / NAMES[0]), "1", "0.9"],
        [str(images / NAMES[1]), "1", "0.9"],
        [str(images / NAMES[3]), "1", "0.9"],
        [str(images / NAMES[2]), "2", "1"],
        [str(images / NAMES[5]), "3", "0.5"],
    ]


def test_json(export, work):
    assert export("--to", "json", "--output", "table.json").returncode == 0
    faces = json.loads((work / "table.json").read_text(encoding="utf-8"))["faces"]
    assert [face["cluster"] for face in faces] == [1, 1, 1, 2, 3]
    assert [face["confidence"] for face in faces] == [0.9, 0.9, 0.9, 1, 0.5]
    assert faces[2]["path"] == str(work.parent / "images" / NAMES[3])


NAMED = ["Anna", None, "../B: <ert>"]


def test_names_given_in_the_report_go_along(export, work):
    write_cluster_json(work, names=NAMED)
    assert export().returncode == 0
    folders = sorted(path.name for path in (work / "export").glob("p*"))
    assert folders == ["person_1_Anna", "person_2", "person_3_.._B_ _ert_"]
    assert export("--to", "csv").returncode == 0
    with open(work / "export.csv", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["path", "cluster", "confidence", "name"]
    assert [line[3] for line in lines] == ["Anna", "Anna", "Anna", "", "../B: <ert>"]
    assert export("--to", "json").returncode == 0
    faces = json.loads((work / "export.json").read_text(encoding="utf-8"))["faces"]
    assert [face.get("name") for face in faces] == ["Anna", "Anna", "Anna", None, "../B: <ert>"]


def test_a_name_is_no_formula(export, work):
    write_cluster_json(work, names=["=1+1", "@x", "-2"])
    assert export("--to", "csv").returncode == 0
    with open(work / "export.csv", encoding="utf-8", newline="") as file:
        assert [line[3] for line in csv.reader(file)][1:] == ["'=1+1"] * 3 + ["'@x", "'-2"]
    write_cluster_json(work, names=["\t+1", " =1", "＝1"])
    assert export("--to", "csv").returncode == 0
    with open(work / "export.csv", encoding="utf-8", newline="") as file:
        assert [line[3] for line in csv.reader(file)][1:] == ["'\t+1"] * 3 + ["' =1", "'＝1"]


def test_half_a_letter_in_a_name_is_escaped(export, work):
    write_cluster_json(work, names=["a\ud800", None, None])
    for kind in ("csv", "json", "folders"):
        assert export("--to", kind).returncode == 0
    assert r"a\ud800" in (work / "export.csv").read_text()
    assert sorted(path.name for path in (work / "export").glob("p*"))[0] == "person_1_a_"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("CON", "_CON"),  # behind person_ and a number, no name is reserved
        ("Anna. . ", "_Anna"),
        ("..", ""),
        ("a/b\\c:d*e", "_a_b_c_d_e"),
        ("e\u0301", "_é"),
        ("n" * 300, "_" + "n" * 200),
        ("é" * 99 + "a. b", "_" + "é" * 99 + "a"),
        ("\x00\n\u202e", "____"),
        (None, ""),
    ],
)
def test_a_persons_folder_has_a_name_for_every_system(name, folder):
    assert as_file_name(name) == folder


def test_damaged_names_are_refused(export, work):
    for names in (["Anna"], [1, None, None], ["", None, None], "Anna"):
        write_cluster_json(work, names=names)
        result = export()
        assert result.returncode == 3 and "`names` is damaged" in result.stderr


def test_no_name_escapes_the_folder(export, work):
    outside = work.parent / "outside.jpg"
    outside.write_text("image 0")
    lines = [
        "../outside.jpg",
        f"{outside}",
        "x" * 60 + "/../a/face.jpg",
        "a/" + "n" * 250 + ".jpg",
        "a/face.jpg",
    ]
    images = work.parent / "images"
    (images / ("x" * 60)).mkdir()
    (images / "a" / ("n" * 250 + ".jpg")).write_text("long")
    (images / "list.txt").write_text("\n".join([*lines, "a/face.jpg"]) + "\n")
    result = export("--filelist", "../images/list.txt", "--copy")
    assert result.returncode == 0, result.stderr
    names = sorted(exported(work / "export"))
    assert names[:2] == ["person_1/0_outside.jpg", "person_1/1_outside.jpg"]
    assert names[2].startswith("person_1/3_nnn")
    assert names[2].endswith("n.jpg")
    assert names[3:] == ["person_2/2_face.jpg", "person_3/5_face.jpg"]
    assert sorted(path.name for path in work.iterdir()) == [
        "clusters.json",
        "clusters.txt",
        "export",
        "feature.json",
    ]


def regroup(work, clusters, **changes):
    (work / "clusters.txt").write_text(clusters)
    write_cluster_json(work, predicted_iou=[0.7] * len(clusters.splitlines()), **changes)


def test_an_earlier_export_is_replaced_but_nothing_else(export, work):
    assert export().returncode == 0
    regroup(work, "0 1 2 3 5\n")
    assert export().returncode == 0
    assert {path.name for path in (work / "export").iterdir()} == {"person_1", JOURNAL}
    (work / "photos").mkdir()
    (work / "photos" / "mine.jpg").touch()
    refused = export("--output", "photos")
    assert refused.returncode == 3
    assert "photos: holds mine.jpg, which is not of this tool" in refused.stderr
    assert (work / "photos" / "mine.jpg").exists()


def all_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {JOURNAL}


@pytest.mark.parametrize("copy", [[], ["--copy"]], ids=["links", "copies"])
def test_what_a_user_put_into_an_export_stays(export, work, copy):
    write_cluster_json(work, names=["Anna", "Bo", None])
    assert export(*copy).returncode == 0
    folder = work / "export"
    mine = ["person_1_Anna/mine.txt", "person_1_Anna/trip/deep.jpg", "person_2_Bo/.hidden", "top.txt"]
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "person_2_Bo" / "elsewhere").symlink_to(work.parent / "images")  # a folder, never followed
    (folder / "person_2_Bo" / "empty").mkdir()
    regroup(work, "0 1\n2 5\n3\n", names=["Ann", None, "Bo"])  # another name, another number
    result = export(*copy)
    assert result.returncode == 0, result.stderr
    assert all_in(folder) - {*mine, "person_2_Bo/elsewhere"} == {
        "person_1_Ann/0_face.jpg",
        "person_1_Ann/1_face.jpg",
        'person_2/2_=1+2,"x".jpg',
        "person_2/5_-lone.jpg",
        "person_3_Bo/3_ü 名.jpg",
    }
    assert all((folder / name).read_text() == name for name in mine)
    assert (folder / "person_2_Bo/elsewhere").is_symlink() and (folder / "person_2_Bo/empty").is_dir()
    assert (work.parent / "images" / NAMES[0]).read_text() == "image 0"
    assert "export: kept 6 files" in result.stdout
    assert "the first is export/person_1_Anna/mine.txt" in result.stdout
    again = export(*copy)
    assert "kept 6 files" in again.stdout and again.returncode == 0


def test_an_edited_copy_stays_and_is_not_replaced(export, work):
    images = work.parent / "images"
    os.utime(images / NAMES[1], ns=(10**18 + 1, 10**18 + 1))
    assert export("--copy").returncode == 0
    folder = work / "export" / "person_1"
    assert (folder / "1_face.jpg").stat().st_mtime_ns == 10**18 + 1
    edited, touched, linked = folder / "0_face.jpg", folder / "1_face.jpg", folder / "3_ü 名.jpg"
    edited.write_text("image Z")  # of the same size, later
    os.utime(touched, ns=(2 * 10**18,) * 2)
    linked.unlink()
    linked.symlink_to("0_face.jpg")
    result = export("--copy")
    assert "kept 2 files" in result.stdout and "the first is export/person_1/0_face.jpg" in result.stdout
    regroup(work, "0 1 2 3 5\n", names=["Anna"])
    result = export("--copy")
    assert "kept 2 files" in result.stdout
    assert edited.read_text() == "image Z" and linked.is_symlink() and not touched.exists()
    assert len(all_in(work / "export")) == 7


def test_links_become_copies_and_a_changed_image_is_copied_anew(export, work):
    assert export().returncode == 0
    assert export("--copy").returncode == 0
    assert exported(work / "export") == FOLDERS
    assert not any(path.is_symlink() for path in (work / "export").glob("*/*"))
    (work.parent / "images" / NAMES[5]).write_text("another image")
    inode = (work / "export/person_1/0_face.jpg").stat().st_ino
    assert "kept" not in export("--copy").stdout
    assert exported(work / "export") == FOLDERS | {"person_3/5_-lone.jpg": "another image"}
    assert (work / "export/person_1/0_face.jpg").stat().st_ino == inode  # not copied again
    assert export().returncode == 0
    assert all(path.is_symlink() for path in (work / "export").glob("*/*"))


@pytest.mark.parametrize("copy", [[], ["--copy"]], ids=["links", "copies"])
def test_killed_before_each_renaming_it_goes_on(export, work, start_process, copy):
    for number in range(1, 12):
        regroup(work, CLUSTERS, names=[None, f"name {number}", None])  # so that there is something to do
        command = [sys.executable, REPOSITORY / "tests/die_at.py", str(number), REPOSITORY / "export.py"]
        process = start_process([*command, *copy], cwd=work, stdout=subprocess.DEVNULL)
        died = process.wait(120)
        result = export(*copy)
        assert result.returncode == 0 and "kept" not in result.stdout
        assert {name.partition("/")[2]: text for name, text in exported(work / "export").items()} == {
            name.partition("/")[2]: text for name, text in FOLDERS.items()
        }
        assert len(list((work / "export").iterdir())) == 4
        if died == 0:
            break
        assert died == -signal.SIGKILL
    assert number > 2


def test_a_missing_image_is_left_out_and_listed(export, work):
    gone = work.parent / "images" / NAMES[5]
    gone.unlink()
    result = export()
    assert result.returncode == 0
    listed = work / "export" / "missing_images.txt"
    assert "; 1 image not found, listed in export/missing_images.txt, in " in result.stdout
    assert listed.read_text() == f"{gone}\n"
    assert exported(work / "export") == {name: text for name, text in FOLDERS.items() if "lone" not in name}
    gone.write_text("image 5")
    assert "not found" not in export().stdout and not listed.exists()
    assert exported(work / "export") == FOLDERS


def test_the_last_copy_of_an_image_is_never_removed(export, work):
    assert export("--copy").returncode == 0
    (work.parent / "images" / NAMES[5]).unlink()
    regroup(work, "0 1 2 3\n5\n")
    result = export("--copy")
    assert "kept 1 file " in result.stdout and "1 image not found" in result.stdout
    assert (work / "export/person_3/5_-lone.jpg").read_text() == "image 5"


def test_no_image_at_all_leaves_the_export_as_it_was(export, work):
    assert export("--copy").returncode == 0
    (work.parent / "images" / "a").rename(work.parent / "a")
    (work.parent / "images" / "b").rename(work.parent / "b")
    result = export("--copy")
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 1)
    assert "face.jpg: not found, nor is any other image" in result.stderr
    assert exported(work / "export") == FOLDERS


def test_an_export_that_is_the_list_itself_is_not_replaced(export, work):
    assert export("--copy").returncode == 0
    images = sorted((work / "export").glob("*/*"))
    filelist = work / "list.txt"
    link = work / "link.jpg"
    link.symlink_to("export/person_1/0_face.jpg")
    for first in (images[0], link):
        filelist.write_text("".join(f"{path}\n" for path in [first, *images, images[0]]))
        for kind in ("folders", "xmp"):
            result = export("--filelist", filelist, "--to", kind, "--output", "export")
            assert result.returncode == 3, result.stdout
            assert f"{first}: is one of the images, and lies in export: choose another" in result.stderr
    assert exported(work / "export") == FOLDERS
    (work / "by hand").mkdir()  # folders of such names that no export wrote
    (work / "export" / "person_1").rename(work / "by hand" / "person_1")
    assert "holds person_1, which is not of this tool" in export("--output", "by hand").stderr


@pytest.mark.parametrize("kind", ["folders", "xmp"])
def test_a_folder_on_the_way_that_leads_elsewhere_is_refused(export, work, kind):
    write_cluster_json(work, names=NAMED)
    assert export("--to", kind, "--output", "out").returncode == 0
    inside = next((work / "out").glob("p*"))
    inside.rename(work / "moved")
    inside.symlink_to(work / "moved")
    before = all_in(work / "moved")
    result = export("--to", kind, "--output", "out")
    assert result.returncode == 3 and "is not a folder of this tool" in result.stderr
    assert all_in(work / "moved") == before


def test_users_files_of_names_like_ours_stay(export, work):
    mine = [".export.old/mine", ".export.part/mine", ".export.csv.part", ".export.csv.old"]
    for name in mine:
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).touch()
    assert export().returncode == export().returncode == export("--to", "csv").returncode == 0
    assert all((work / name).exists() for name in mine)


def test_a_journal_that_is_damaged_or_hostile_removes_nothing(export, work):
    assert export().returncode == 0
    journal = work / "export" / JOURNAL
    outside = work / "outside"
    outside.symlink_to(outside.parent)
    head = journal.read_text().splitlines()[0]
    hostile = [{"path": path, "link": str(outside.parent)} for path in ("../outside", str(outside))]
    for entry in hostile:
        journal.write_text(f"{head}\n{json.dumps(entry)}\n")
        assert export().returncode == 0 and outside.is_symlink()
    for text in ("", "{}", "no journal"):
        journal.write_text(text)
        result = export()
        assert result.returncode == 3 and "choose another --output" in result.stderr
    journal.unlink()
    journal.symlink_to(outside)
    assert export().returncode == 3
    journal.unlink()
    assert exported(work / "export") == FOLDERS


def test_sidecars_stay_below_their_folder_and_leave_a_users_files(export, work):
    images = work.parent / "images"
    (images / "list.txt").write_text("\n".join(f"a/../../images/{name}" for name in NAMES))
    write_cluster_json(work, names=["Anna", None, None])
    arguments = ("--to", "xmp", "--filelist", images / "list.txt")
    assert export(*arguments).returncode == 0
    assert len(all_in(work / "sidecars")) == 3
    (work / "sidecars/photos/b/notes.txt").write_text("mine")
    (work / "sidecars/photos/a/face.jpg.xmp").write_text("edited")
    write_cluster_json(work, names=[None, "Bo", None])
    result = export(*arguments)
    assert "kept 2 files" in result.stdout
    assert all_in(work / "sidecars") == {
        "photos/b/notes.txt",
        "photos/a/face.jpg.xmp",
        'photos/=1+2,"x".jpg.xmp',
    }


def test_without_json_the_list_is_given_and_the_confidence_is_empty(export, work):
    (work / "feature.json").unlink()
    (work / "clusters.json").unlink()
    refused = export("--to", "json")
    assert refused.returncode == 3
    assert "give the list of the images with --filelist" in refused.stderr
    assert export("--to", "json", "--filelist", "../images/list.txt").returncode == 0
    faces = json.loads((work / "export.json").read_text(encoding="utf-8"))["faces"]
    assert {face["confidence"] for face in faces} == {None}


def test_files_that_do_not_belong_together_are_refused(export, work):
    write_cluster_json(work, features_sha256="0" * 64)
    assert "made from other features" in export().stderr
    write_cluster_json(work, count=1)
    assert "`predicted_iou` is damaged" in export().stderr
    (work / "clusters.txt").write_text("0 1 3\n2\n6\n")
    assert "not made with clusters.txt as it is now" in export().stderr
    write_cluster_json(work)
    assert " has 6 rows: give the one" in export().stderr
    with open(work.parent / "images" / "list.txt", "a") as file:
        file.write("another.jpg\n")
    changed = export()
    assert changed.returncode == 3
    assert "has changed since the features were made" in changed.stderr
    assert [path.name for path in work.iterdir() if "export" in path.name] == []


@pytest.fixture
def from_photos(work, tmp_path):
    """The list's faces.json: the first two faces are of one photo, the fourth of another, others of none."""
    faces = {"p/one.jpg": (0, 1), "p/two.jpg": (3,)}
    (tmp_path / "images" / "p").mkdir()
    photos = []
    for name, rows in faces.items():
        (tmp_path / "images" / name).write_text(name)
        crops = [{"crop": NAMES[row], "sha256": "0", "box": [row, 1.5, 20, 30]} for row in rows]
        photos.append({"photo": name, "sha256": "0", "size": [40, 50], "faces": crops})
    photos.append({"photo": "p/none.jpg", "reason": "not found"})
    (tmp_path / "images" / "list.json").write_text(json.dumps({"format": 1, "photos": photos}))
    return tmp_path / "images"


def test_tables_name_the_photo_and_the_box_of_each_face(export, work, from_photos):
    assert export("--to", "csv").returncode == 0
    with open(work / "export.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [[row[name] for name in ("photo", "left", "top", "right", "bottom")] for row in rows]
    one, two = str(from_photos / "p/one.jpg"), str(from_photos / "p/two.jpg")
    assert places[:3] == [
        [photo, left, "1.5", "20", "30"] for photo, left in ((one, "0"), (one, "1"), (two, "3"))
    ]
    assert places[3:] == [[""] * 5] * 2
    assert export("--to", "json").returncode == 0
    faces = json.loads((work / "export.json").read_text())["faces"]
    assert (faces[1]["photo"], faces[1]["box"]) == (one, [1, 1.5, 20, 30])
    assert "photo" not in faces[3]


def test_folders_can_hold_photos_each_once_for_a_person(export, work, from_photos):
    (work / "clusters.txt").write_text("0 1 3\n")
    write_cluster_json(work, predicted_iou=[0.9])
    result = export("--photos")
    assert result.returncode == 0, result.stderr
    assert exported(work / "export") == {"person_1/0_one.jpg": "p/one.jpg", "person_1/3_two.jpg": "p/two.jpg"}


def test_photos_that_are_not_known_are_a_line(export, from_photos):
    result = export("--photos")
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 1)
    assert "nothing says which photo" in result.stderr and "sh run_align.sh" in result.stderr
    assert export("--photos", "--to", "csv").returncode == 2


def test_hidden_people_stay_out(export, work):
    write_cluster_json(work, names=NAMED, hidden=[0])
    assert export("--to", "json").returncode == 0
    faces = json.loads((work / "export.json").read_text(encoding="utf-8"))["faces"]
    assert [face["cluster"] for face in faces] == [2, 3]
    for hidden in ([3], [-1], ["0"], "0"):
        write_cluster_json(work, names=NAMED, hidden=hidden)
        assert "`hidden` is damaged" in export("--to", "json", "--output", "other.json").stderr


XMP = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "regions": "http://www.metadataworkinggroup.com/schemas/regions/",
    "area": "http://ns.adobe.com/xmp/sType/Area#",
    "dim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}


def texts(root, path):
    return [one.text for one in root.iterfind(path, XMP)]


def test_sidecars_hold_names_alone_where_no_photo_is_known(export, work):
    write_cluster_json(work, names=["Anna & <Bo>", None, "\x00Zoë"])
    result = export("--to", "xmp")
    assert result.returncode == 0, result.stderr
    assert "without a face, 4 sidecars, in " in result.stdout
    assert "; next: copy what is in sidecars/photos beside the photos" in result.stdout
    made = {str(path.relative_to(work / "sidecars")): path for path in work.glob("sidecars/photos/*/*.xmp")}
    assert set(made) == {f"photos/{NAMES[row]}.xmp" for row in (0, 1, 3, 5)}
    root = ElementTree.parse(made["photos/a/face.jpg.xmp"]).getroot()
    assert texts(root, ".//dc:subject//rdf:li") == ["Anna & <Bo>"]
    assert root.find(".//regions:Regions", XMP) is None
    root = ElementTree.parse(made["photos/b/-lone.jpg.xmp"]).getroot()
    assert texts(root, ".//dc:subject//rdf:li") == ["Zoë"]


def test_sidecars_hold_where_the_faces_are_in_aligned_photos(export, work):
    faces = [
        {"crop": name, "sha256": "0", "box": [20 * row, 10, 20 * row + 40, 110]}
        for row, name in enumerate(NAMES)
    ]
    photos = [
        {"photo": "one.jpg", "sha256": "0", "size": [400, 200], "faces": faces[:3]},
        {"photo": "trip/two.png", "sha256": "0", "size": [100, 200], "faces": faces[3:]},
    ]
    (work.parent / "images" / "list.json").write_text(json.dumps({"format": 1, "photos": photos}))
    write_cluster_json(work, names=["Anna", None, "Bo"], hidden=[2])
    result = export("--to", "xmp")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in work.glob("sidecars/photos/**/*.xmp")) == [
        "one.jpg.xmp",
        "two.png.xmp",
    ]
    root = ElementTree.parse(work / "sidecars/photos/one.jpg.xmp").getroot()
    assert texts(root, ".//dc:subject//rdf:li") == ["Anna"]
    assert texts(root, ".//regions:AppliedToDimensions/*") == ["400", "200", "pixel"]
    assert texts(root, ".//regions:RegionList/rdf:Bag/rdf:li/regions:Type") == ["Face"] * 3
    assert texts(root, ".//regions:RegionList/rdf:Bag/rdf:li/regions:Name") == ["Anna", "Anna"]
    areas = [texts(area, "*") for area in root.iterfind(".//regions:Area", XMP)]
    assert areas[1] == ["0.100000", "0.300000", "0.100000", "0.500000", "normalized"]
    root = ElementTree.parse(work / "sidecars/photos/trip/two.png.xmp").getroot()
    assert texts(root, ".//dc:subject//rdf:li") == ["Anna"]
    assert len(root.findall(".//regions:Area", XMP)) == 1  # the hidden person's face is not told of
    (work / "sidecars" / "mine.txt").touch()
    assert "kept 1 file " in export("--to", "xmp").stdout and (work / "sidecars" / "mine.txt").exists()
