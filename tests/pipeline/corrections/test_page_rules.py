"""The page follows the same rules as the stage that finds the people: its scripts, run by node."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from conftest import REPOSITORY

from pipeline.corrections.apply import apply_corrections
from pipeline.files.corrections import Corrections, Person

SCRIPTS = REPOSITORY / "pipeline" / "report" / "templates"
SETTLE = """
const vm = require("node:vm");
const fs = require("node:fs");
vm.runInThisContext(fs.readFileSync(process.argv[1], "utf8"));
const cases = JSON.parse(fs.readFileSync(0, "utf8"));
const settled = cases.map(({ labels, said }) => {
  const count = Math.max(-1, ...labels) + 1;
  const sizes = Array(count).fill(0);
  for (const label of labels) if (label >= 0) sizes[label] += 1;
  const { labelOf } = settle(said, (row) => labels[row], (cluster) => sizes[cluster], count);
  return labels.map((_, row) => labelOf(row));
});
process.stdout.write(JSON.stringify(settled));
"""
SAY = """
const vm = require("node:vm");
const fs = require("node:fs");
vm.runInThisContext(fs.readFileSync(process.argv[1], "utf8"));
const said = JSON.parse(fs.readFileSync(0, "utf8")).map((sayings) => vm.runInThisContext("say")(
  vm.runInThisContext("NOTHING_SAID"), sayings));
process.stdout.write(JSON.stringify(said));
"""


def run_node(program, value):
    """What a program, given the path of corrections.js and JSON, prints as JSON."""
    if shutil.which("node") is None:
        reason = "node is not installed: it runs the page's rules"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = ["node", "-e", program, SCRIPTS / "corrections.js"]
    done = subprocess.run(command, input=json.dumps(value), capture_output=True, encoding="utf-8", check=True)
    return json.loads(done.stdout)


def random_case(rng):
    """Any clusters, and what was said about some true people, in the page's form."""
    count = int(rng.integers(2, 25))
    labels, true = rng.integers(-1, 6, count), rng.integers(0, 4, count)
    people, spoken_of = [], set()
    for identity in range(4):
        own = rng.permutation(np.flatnonzero(true == identity))[: rng.integers(0, count)]
        parts = [part.tolist() for part in np.array_split(own, rng.integers(1, 4)) if len(part)]
        if parts and rng.uniform() < 0.7:
            name = f"person {identity}" if rng.uniform() < 0.5 else None
            people.append({"name": name, "hidden": False, "parts": parts})
            spoken_of |= set(own.tolist())
    apart = []
    for _ in range(rng.integers(0, 6)):
        who = rng.integers(0, 4)
        pair = [
            rng.permutation(np.flatnonzero(side))[: rng.integers(1, 6)] for side in (true == who, true != who)
        ]
        if all(map(len, pair)):
            apart.append([side.tolist() for side in pair])
    free = [row for row in range(count) if row not in spoken_of]
    no_faces = rng.permutation(free)[: rng.integers(0, 3)].tolist() if free else []
    said = {"people": people, "apart": apart, "not_faces": [int(row) for row in no_faces]}
    return {"labels": labels.tolist(), "said": said}


def corrections_of(said):
    def rows(numbers):
        return np.array(numbers, np.int64)

    people = [
        Person(one["name"], [rows(part) for part in one["parts"]], one["hidden"]) for one in said["people"]
    ]
    pairs = [(rows(one), rows(other)) for one, other in said["apart"]]
    return Corrections(people, pairs, rows(said["not_faces"]))


def partition(labels):
    labels = np.asarray(labels)
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels[labels >= 0])}


def test_the_page_and_the_stage_find_the_same_people():
    rng = np.random.default_rng(0)
    # The page knows nobody where there is no cluster at all.
    cases = [case for case in (random_case(rng) for _ in range(500)) if max(case["labels"]) >= 0]
    for case, settled in zip(cases, run_node(SETTLE, cases), strict=True):
        _, labels = np.unique(np.append(-1, case["labels"]), return_inverse=True)
        corrected = apply_corrections(labels[1:] - 1, corrections_of(case["said"]))
        assert partition(settled) == partition(corrected), case


def test_the_later_word_holds():
    said = run_node(
        SAY,
        [
            [["same", [[1, 2], [3]], "Anna"], ["different", [3], [1, 2]]],
            [["different", [3], [1, 2]], ["same", [[1, 2], [3]]]],
            [["same", [[1, 2]], "Anna"], ["same", [[3]], "Bo"], ["same", [[2], [3]]]],
            [
                ["same", [[1, 2], [3]]],
                ["notFaces", [2], True],
                ["different", [2], [4]],
                ["notFaces", [2], False],
            ],
            [["notFaces", [1], True], ["same", [[1, 2]]], ["hidden", [1, 2], True], ["called", [1, 2], None]],
            [["same", [[1], [2]]], ["forget", "people", 0]],
            [["same", [[1, 2], [3]]], ["same", [[1], [2]]], ["same", [[1, 2, 3], [4]]]],
        ],
    )
    assert said[0]["people"] == [{"name": "Anna", "hidden": False, "parts": [[1, 2]]}]
    assert said[0]["apart"] == [[[3], [1, 2]]]
    assert said[1]["people"] == [{"name": None, "hidden": False, "parts": [[1, 2], [3]]}]
    assert said[1]["apart"] == []
    assert [(one["name"], one["parts"]) for one in said[2]["people"]] == [("Anna", [[1], [2], [3]])]
    assert said[3]["people"][0]["parts"] == [[1], [3]] and said[3]["not_faces"] == []
    assert said[4]["people"] == [{"name": None, "hidden": True, "parts": [[1, 2]]}]
    assert said[4]["not_faces"] == [] and said[5]["people"] == []
    assert said[6]["people"][0]["parts"] == [[1], [2], [3], [4]]  # what was told apart once stays so
