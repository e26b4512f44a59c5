"""A collection that grows: new rows at the end of feature.bin are searched for alone."""

import numpy as np
import pytest
from conftest import make_people

import proposal

DIM, COUNT = 24, 300


@pytest.fixture
def rows():
    """Faces with near-copies of some at the end and in the midst."""
    rng = np.random.default_rng(0)
    rows = make_people(people=40, images=8, dim=DIM, noise=0.8).rows
    near = rows[rng.integers(0, len(rows), 12)] + 1e-3 * rng.standard_normal((12, DIM))
    return rng.permutation(np.concatenate([rows, near])).astype(np.float32)


def propose(folder, rows, *options):
    """Write the rows and run the stage on them, as it stands in the folder."""
    folder.mkdir(exist_ok=True)
    rows.astype("<f4").tofile(folder / "feature.bin")
    given = [
        "--features",
        folder / "feature.bin",
        "--dim",
        DIM,
        "--output",
        folder / "super_vertex",
        "--k",
        6,
    ]
    proposal.main(proposal.get_parser().parse_args(list(map(str, [*given, *options]))))
    return folder / "super_vertex"


def bytes_of(folder):
    """All files of a folder by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_by_exact_search_the_files_are_those_made_anew(tmp_path, rows, capsys):
    for count in (200, 299, len(rows)):
        grown = propose(tmp_path / "grown", rows[:count])
    assert "were there already" in capsys.readouterr().out
    anew = propose(tmp_path / "anew", rows)
    assert (anew / "searched_neighbors.npy").exists()
    assert "were there already" not in capsys.readouterr().out
    assert bytes_of(grown) == bytes_of(anew)


def test_other_thresholds_keep_all_neighbors(tmp_path, rows, capsys):
    propose(tmp_path / "some", rows, "--threshold", 2)
    changed = propose(tmp_path / "some", rows, "--threshold", 1)
    assert "0 faces were searched for" in capsys.readouterr().out
    assert bytes_of(changed) == bytes_of(propose(tmp_path / "other", rows, "--threshold", 1))


@pytest.mark.parametrize("change", ["removed", "changed", "damaged", "k", "restart"])
def test_what_cannot_be_kept_is_said_and_all_is_searched_for(tmp_path, rows, capsys, change):
    place = propose(tmp_path / "some", rows[:COUNT])
    after, options = rows.copy(), []
    if change == "removed":
        after = rows[10:]
    elif change == "changed":
        after[3] += 0.1
    elif change == "damaged":
        with open(place / "similarities.npy", "r+b") as file:
            file.seek(-4, 2)
            file.write(b"abcd")
    elif change == "k":
        options = ["--k", 7]
    else:
        options = ["--restart"]
    capsys.readouterr()
    grown = propose(tmp_path / "some", after, *options)
    said = capsys.readouterr().out
    assert "were there already" not in said
    assert ("everything is searched for anew" in said) == (change in ("removed", "changed", "damaged"))
    assert bytes_of(grown) == bytes_of(propose(tmp_path / "anew", after, *options))


def test_an_approximate_graph_grows(tmp_path, rows, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.search.ivf.ROWS_A_CELL", 20)
    propose(tmp_path / "some", rows[:COUNT], "--search", "ivf")
    capsys.readouterr()
    propose(tmp_path / "some", rows, "--search", "ivf")
    assert "were there already" in capsys.readouterr().out
