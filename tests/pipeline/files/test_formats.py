"""Readers: what they take, and that nothing else gets past them."""

import json
import pickle

from common.errors import InputError

import numpy as np
import pytest
from conftest import make_people
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.atomic import digest_file, whole_folder
from pipeline.files.clusters import read_cluster_json, read_clusters, write_clusters
from pipeline.files.features import read_features
from pipeline.files.labels import read_labels
from pipeline.files.proposals import Round, create_graph, read_super_vertex, write_rounds
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups, take_groups
from pipeline.rows import UnitRows, unit_rows

labels_of_rows = st.lists(st.integers(-1, 6), min_size=1, max_size=40).map(np.array)


@given(labels_of_rows)
def test_groups_and_labels_are_inverse(labels):
    groups = groups_from_labels(labels)
    back = labels_from_groups(groups, len(labels))
    np.testing.assert_array_equal(back >= 0, labels >= 0)
    for part in np.split(groups.members, groups.offsets[1:-1]) if len(groups) else []:
        assert len(np.unique(labels[part])) == 1 and (np.diff(part) > 0).all()
    assert len(groups) == len(np.unique(labels[labels >= 0]))


@given(labels_of_rows.filter(lambda labels: (labels >= 0).any()))
@settings(max_examples=30)
def test_clusters_come_back_by_size_then_first_row(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("clusters") / "clusters.txt"
    groups = canonical_groups(groups_from_labels(labels))
    write_clusters(path, groups, {}, np.ones(len(groups)))
    found = read_clusters(path)
    np.testing.assert_array_equal(found.members, groups.members)
    np.testing.assert_array_equal(found.offsets, groups.offsets)
    order = [
        (-size, first) for size, first in zip(found.sizes, found.members[found.offsets[:-1]], strict=True)
    ]
    assert order == sorted(order)


def test_some_groups_are_taken_in_the_order_asked_for():
    groups = groups_from_labels(np.array([0, 1, 1, 2, 2, 2]))
    taken = take_groups(groups, np.array([2, 0]))
    assert taken.members.tolist() == [3, 4, 5, 0] and taken.sizes.tolist() == [3, 1]


@given(st.binary(max_size=60))
@settings(max_examples=150)
@pytest.mark.parametrize("reader", [read_clusters, read_labels])
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, reader, data):
    path = tmp_path_factory.mktemp("text") / "file.txt"
    path.write_bytes(data)
    try:
        reader(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)


@given(st.binary(max_size=100), st.integers(1, 8))
@settings(max_examples=100)
def test_any_bytes_are_features_or_refused(tmp_path_factory, data, dim):
    path = tmp_path_factory.mktemp("features") / "feature.bin"
    path.write_bytes(data)
    try:
        features = read_features(path, dim)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert features.rows.nbytes == len(data) and np.isfinite(features.rows[features.usable]).all()


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
def test_npy_rows_are_read_as_they_are(tmp_path, kind):
    rows = make_people().rows
    np.save(tmp_path / "a.npy", rows.astype(kind))
    features = read_features(tmp_path / "a.npy")
    assert features.rows.shape == rows.shape and features.usable.sum() == len(rows) - 1
    assert features.digest == digest_file(tmp_path / "a.npy")
    unit = rows[features.usable] / np.linalg.norm(rows[features.usable], axis=1, keepdims=True)
    for found in (
        unit_rows(features.rows, features.usable),
        UnitRows(features.rows, features.numbering)[np.arange(len(unit))],
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, unit, atol=1e-3 if kind == "<f2" else 1e-6)


def refused_features(path, dim=None):
    with pytest.raises(InputError) as caught:
        read_features(path, dim)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((4, 3), np.float32, order="F") * np.arange(3), "C order"),
        (np.ones((4, 3), np.int32), "is int32 (4, 3): give float16, float32 or float64"),
        (np.ones(12, np.float32), "is float32 (12,)"),
        (np.ones((0, 3), np.float32), "is float32 (0, 3)"),
    ],
    ids=["columns first", "integers", "one dimension", "no row"],
)
def test_other_arrays_are_refused(tmp_path, array, words):
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if "order" in words else array)
    assert words in refused_features(tmp_path / "a.npy")


def test_the_dimension_of_an_array_is_its_own(tmp_path):
    np.save(tmp_path / "a.npy", make_people().rows)
    assert "are of 64 values, not 32" in refused_features(tmp_path / "a.npy", 32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(60), ".npz or another zip archive, not raw float32: convert it with Python's"),
        (b"\x89HDF\r\n\x1a\n" + bytes(56), "HDF5"),
        (b"MATLAB 5.0 MAT-file" + b" " * 45, "MATLAB"),
        (b"PAR1" + bytes(60), "Parquet"),
        (b"\x1f\x8b\x08\x00" + bytes(60), "gzip"),
        (pickle.dumps([0.5] * 20), "pickle"),
        (b"0.5 0.25 -1e-3\n" * 16, "numpy.loadtxt"),
    ],
    ids=["npz", "hdf5", "matlab", "parquet", "gzip", "pickle", "text"],
)
def test_files_of_another_kind_are_named_with_what_converts_them(tmp_path, data, words):
    (tmp_path / "feature.bin").write_bytes(data)
    assert words in refused_features(tmp_path / "feature.bin", 4)


@pytest.mark.parametrize("kind", ["<f2", "<f8", "<i4", "<i8"])
@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_other_numbers_are_not_taken_for_features(tmp_path, kind, scale):
    rows = np.random.default_rng(0).standard_normal((64, 128)) * scale
    (np.rint(rows * 100) if "i" in kind else rows).astype(kind).tofile(tmp_path / "feature.bin")
    assert "as no feature does: is it float32?" in refused_features(tmp_path / "feature.bin", 64)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1, 1e4, 1e12])
def test_features_of_any_network_are_taken(tmp_path, scale):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((64, 128)) * scale
    rows[:20] = rows[:20].clip(0) ** 2  # as networks give that end in a rectifier
    rows[20:30, 7] *= 1000  # or with a few large values
    rows.astype("<f4").tofile(tmp_path / "feature.bin")
    assert read_features(tmp_path / "feature.bin", 128).usable.all()


def test_labels_are_numbers_or_names(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("7\n-1\n7\n9\n\n")
    assert read_labels(path).tolist() == [7, -1, 7, 9]
    path.write_text("bert\nanna\u2028b\n-1\r\nbert\n12\n")
    found = read_labels(path)
    assert (
        found[0] == found[3]
        and found[2] == -1
        and len(set(found.tolist())) == 4
        and found[[0, 1, 4]].min() >= 0
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MANIFEST_KEYS = ("format", "count", "k", "features_sha256", "calibration", "rounds")


@pytest.fixture(scope="module")
def proposals(tmp_path_factory):
    """A folder of features with their proposals."""
    folder = tmp_path_factory.mktemp("proposals")
    rng = np.random.default_rng(0)
    rng.standard_normal((6, 4)).astype("<f4").tofile(folder / "feature.bin")
    features = read_features(folder / "feature.bin", 4)
    with whole_folder(folder / "super_vertex", holds=()) as part:
        neighbors, similarities = create_graph(part, 6, 2)
        neighbors[:] = (np.arange(6)[:, None] + [1, 2]) % 6
        similarities[:] = 0.5
        rounds = [
            Round(
                "single linkage",
                2.0,
                groups_from_labels(np.array([0, 0, 1, 1, -1, -1])),
                np.zeros(0, np.int64),
            ),
            Round("average linkage", 2.0, groups_from_labels(np.array([0, 0, 0, 0, -1, -1])), np.array([1])),
        ]
        manifest = {"count": 6, "k": 2, "features_sha256": features.digest}
        write_rounds(
            part, manifest | {"calibration": {"middle": 0.0, "spread": 0.1}}, rounds, features.numbering
        )
    return folder


def test_proposals_come_back(proposals):
    features = read_features(proposals / "feature.bin", 4)
    found = read_super_vertex(proposals / "super_vertex", features)
    assert [(r.hierarchy, len(r.proposals), r.repeats.tolist()) for r in found.rounds] == [
        ("single linkage", 2, []),
        ("average linkage", 1, [1]),
    ]
    assert found.neighbors[5].tolist() == [0, 1]


@given(st.sampled_from(MANIFEST_KEYS), json_values)
@settings(max_examples=150, deadline=None)
def test_a_manifest_with_anything_in_it_is_read_or_refused(proposals, key, value):
    path = proposals / "super_vertex" / "manifest.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps(json.loads(text) | {key: value}))
        read_super_vertex(proposals / "super_vertex", read_features(proposals / "feature.bin", 4))
    except InputError as error:
        assert "super_vertex" in str(error)
    finally:
        path.write_text(text)


def test_the_graph_of_one_row_is_empty_and_comes_back(tmp_path):
    neighbors, _ = create_graph(tmp_path, 3, 0)
    assert neighbors.shape == (3, 0)
    assert np.load(tmp_path / "similarities.npy").shape == (3, 0)


def test_confidence_belongs_to_its_clusters(tmp_path):
    path = tmp_path / "clusters.txt"
    write_clusters(
        path, groups_from_labels(np.array([0, 0, 1])), {"features_sha256": "f"}, np.array([0.5, 1])
    )
    assert read_cluster_json(path)["predicted_iou"] == [0.5, 1.0]
    path.write_text("0 1 2\n")
    with pytest.raises(InputError, match="was not made with clusters.txt as it is now"):
        read_cluster_json(path)
