"""How many people there are: the same words from every stage, of the same files."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_images

from pipeline.corrections.said import save_corrections
from pipeline.files.clusters import read_clusters
from pipeline.files.corrections import Corrections, Person, corrections_json
from pipeline.files.features import read_features
from pipeline.files.json_object import write_json
from pipeline.groups import groups_from_labels, people_in_words


@pytest.mark.parametrize(
    ("labels", "hidden", "words"),
    [
        ([0, 0, 1], [], "1 person in 2 faces, 1 face alone"),
        ([0, 0, 1, 1, 2, 3], [], "2 people in 4 faces, 2 faces alone"),
        (
            [0, 0, 1, 1, 1, 2, -1],
            [1],
            "1 person in 2 faces, 1 face alone, 1 hidden person in 3 faces, 1 image",
        ),
        (
            [0, -1, -1],
            [0],
            "0 people in 0 faces, 0 faces alone, 1 hidden person in 1 face, 2 images unreadable",
        ),
        ([0] * 1200, [], "1 person in 1,200 faces, 0 faces alone"),
    ],
)
def test_words(labels, hidden, words):
    said = people_in_words(groups_from_labels(np.array(labels)), hidden, len(labels))
    assert said.startswith(words) and said.endswith(("alone", "without a face"))


def test_all_stages_say_the_same(made, stage):
    draw_images(made)
    lines = [np.array(line.split(), np.int64) for line in Path("clusters.txt").read_text().splitlines()]
    said = Corrections(
        [Person("Anna", lines[:2]), Person("Bo", [lines[2]], hidden=True)], [], np.array([lines[3][0]])
    )
    write_json(
        Path("corrections.json"),
        corrections_json(save_corrections(said, read_features(Path("feature.bin")), None)),
    )
    ended = stage("predict", "--corrections", "corrections.json")
    words = re.search(r"clusters.txt: (.* without a face), 3 corrections kept", ended.out)
    assert words, ended.out + ended.err
    clusters = read_clusters(Path("clusters.txt"))
    alone, together = (clusters.sizes == 1).sum(), (clusters.sizes > 1).sum() - 1
    assert words[1].startswith(f"{together} people in ") and f", {alone} face" in words[1]
    assert f"1 hidden person in {len(lines[2])} faces, 2 images unreadable or" in words[1]
    Path("labels.txt").write_text("1\n" * 202)
    for name, *arguments in (
        ("report", "--corrections", "corrections.json"),
        ("export",),
        ("export", "--to", "csv"),
        ("evaluate", "clusters.txt", "labels.txt"),
    ):
        ended = stage(name, *arguments)
        assert ended.code == 0 and f": {words[1]}" in ended.out, ended.out + ended.err
    assert f"202 images: {words[1]}" in Path("report/index.html").read_text()
