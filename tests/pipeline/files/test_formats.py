"""Readers: what they take, and that nothing else gets past them."""

import json

from common.errors import InputError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.atomic import whole_folder
from pipeline.files.clusters import read_cluster_json, read_clusters, write_clusters
from pipeline.files.features import read_features
from pipeline.files.labels import read_labels
from pipeline.files.proposals import Round, create_graph, read_super_vertex, write_rounds
from pipeline.groups import canonical_groups, groups_from_labels, labels_from_groups, take_groups

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
