"""People keep their ids while a collection changes, and tables show them."""

import csv
import json

import numpy as np
from conftest import make_people

from pipeline.files.atomic import digest_file
from pipeline.files.clusters import read_clusters


def run(stage, folder, rows, names):
    """Proposals and clusters of rows whose images have these names; the id of the person of each row."""
    (folder / "list.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    rows.astype("<f4").tofile(folder / "feature.bin")
    told = {
        "format": 1,
        "count": len(rows),
        "dim": rows.shape[1],
        "filelist": str(folder / "list.txt"),
        "filelist_sha256": digest_file(folder / "list.txt"),
    }
    (folder / "feature.json").write_text(json.dumps(told))
    assert stage("proposal").code == 0
    assert stage("predict").code == 0
    clusters, ids = read_clusters(folder / "clusters.txt"), json.loads((folder / "clusters.json").read_text())
    of_row = np.full(len(rows), -1)
    of_row[clusters.members] = np.array(ids["ids"])[clusters.owners]
    return of_row, ids


def test_ids_stay_over_append_order_and_removal(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people = make_people(people=20, images=8)
    rng = np.random.default_rng(0)
    usable = np.flatnonzero(people.labels >= 0)
    first = usable[people.labels[usable] < 15]
    grown = np.append(first, usable[people.labels[usable] >= 15])
    id_of = {}
    fewer = np.union1d(rng.permutation(grown)[:100], people.single)  # nobody is gone for good
    for rows in (first, grown, rng.permutation(grown), fewer, grown):
        found, told = run(stage, tmp_path, people.rows[rows], rows)
        for label, number in zip(people.labels[rows].tolist(), found.tolist(), strict=True):
            assert id_of.setdefault(label, number) == number
        assert told["next_id"] == 1 + max(id_of.values())
    assert len(set(id_of.values())) == len(id_of)
    # Another network's features: the images' names tell.
    other = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    found, _ = run(stage, tmp_path, people.rows[grown] @ other, grown)
    assert [id_of[label] for label in people.labels[grown].tolist()] == found.tolist()
    assert stage("export", "--to", "csv").code == 0
    with open(tmp_path / "export.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(int(line["person"]), line["path"].rsplit("/")[-1]) for line in lines} == {
        (number, f"{row}.jpg") for row, number in zip(grown.tolist(), found.tolist(), strict=True)
    }
    # Clusters of before have no ids; they get some.
    told = json.loads((tmp_path / "clusters.json").read_text())
    told = {key: value for key, value in told.items() if key not in ("ids", "next_id", "faces_sha256")}
    (tmp_path / "clusters.json").write_text(json.dumps(told | {"format": 1}))
    assert stage("export", "--to", "json").code == 0
    assert "person" not in json.loads((tmp_path / "export.json").read_text())["faces"][0]
    assert stage("predict", "--restart").code == 0
    ids = json.loads((tmp_path / "clusters.json").read_text())["ids"]
    assert sorted(ids) == list(range(1, 1 + len(id_of)))
