"""evaluate.py by its command: the table it prints, and what it refuses."""

import re

import pytest


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)

    return write


def numbers(line):
    return [float(number) for number in re.findall(r"\d+\.\d+", line)]


def test_the_table_holds_the_scores(run_script, write):
    write("clusters.txt", "0 1 2 3\n4\n")
    write("labels.txt", "7\n7\n7\n9\n9\n")
    result = run_script("run_evaluate.sh", "clusters.txt", "labels.txt")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["clusters.txt: 1 person in 4 faces, 1 face alone", "labels.txt: 2 people in 5 rows"]
    # Pairs: 6 put together, 4 of one person, 3 of them both.
    assert numbers(lines[3]) == [50.0, 75.0, 60.0]
    # BCubed: (3 * 3/4 + 1/4 + 1) / 5 and (3 + 1/2 + 1/2) / 5.
    assert numbers(lines[4]) == [70.0, 80.0, 74.67]
    assert lines[5].startswith("NMI")


def test_rows_in_no_cluster_are_reported_and_counted_as_their_own(run_script, write):
    write("clusters.txt", "0 1\n")
    write("labels.txt", "7\n7\n7\n9\n")
    result = run_script("run_evaluate.sh", "clusters.txt", "labels.txt", "--quiet")
    assert result.returncode == 0, result.stderr
    assert "2 rows in no cluster, scored as people of their own" in result.stdout
    pairwise = next(line for line in result.stdout.splitlines() if line.startswith("pairwise"))
    assert numbers(pairwise) == [100.0, 33.33, 50.0]


def test_names_are_identities_and_unknown_people_are_not_scored(run_script, write):
    write("clusters.txt", "0 1 2 3 5\n4\n")
    write("labels.txt", "Ann\nAnn\nAnn\nBob B.\nBob B.\n-1\n\n")
    result = run_script("run_evaluate.sh", "clusters.txt", "labels.txt")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1:3] == ["labels.txt: 2 people in 5 rows", "1 row of unknown people not scored"]
    assert numbers(lines[4]) == [50.0, 75.0, 60.0]  # as without the row that is not known
    assert numbers(lines[5]) == [70.0, 80.0, 74.67]


@pytest.mark.parametrize(
    ("clusters", "labels", "words"),
    [
        ("0 5\n", "1\n1\n", "holds row 5 but labels.txt has 2 rows"),
        ("0 1\n1\n", "1\n1\n", "row 1 stands in two clusters"),
        ("0 x\n", "1\n1\n", "line 1 holds something other than row ids"),
        ("0 1\n", "1\n\nann\n", "line 2 is empty"),
        ("0 1\n", "-1\n-1\n", "every person is unknown"),
        ("0 1\n", "", "holds no label"),
        ("", "1\n", "clusters.txt: line 1 is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_3(run_script, write, clusters, labels, words):
    write("clusters.txt", clusters)
    write("labels.txt", labels)
    result = run_script("run_evaluate.sh", "clusters.txt", "labels.txt")
    assert result.returncode == 3
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_missing_arguments_are_a_usage_error(run_script):
    result = run_script("run_evaluate.sh", "clusters.txt")
    assert result.returncode == 2
    assert "LABELS" in result.stderr
