"""Ids of people that stay the same from run to run: a person is whom most of its images were before."""

import hashlib

import numpy as np

from pipeline.files.clusters import People
from pipeline.files.features import Features
from pipeline.groups import Groups
from pipeline.rows import blocks, keys_of_rows


def keys_of_faces(features: Features, names: list[str] | None) -> np.ndarray:
    """What an image is known by, uint64 (N, 2): the bits of its feature, and its name in the file list.

    0 for a row without a feature, or without a name.
    """
    keys = np.zeros((len(features.rows), 2), np.uint64)
    for part, block in blocks(features.rows):
        keys[part, 0] = keys_of_rows(np.ascontiguousarray(block, np.float32))
    keys[~features.usable, 0] = 0
    if names is not None and len(names) == len(keys):
        digests = (hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8) for name in names)
        keys[:, 1] = [int.from_bytes(digest.digest(), "little") for digest in digests]
    return keys


def same_faces(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Of each face, by its keys (N, 2), the number of the same image among those `before`, int64 (N,), or -1.

    By its feature, and where none is the same by its name. Of images that are alike to the bit each is found
    once, in order.
    """
    found = np.full(len(now), -1, np.int64)
    for kind in range(2):
        open_ = np.flatnonzero((found < 0) & (now[:, kind] > 0))
        left = np.setdiff1d(np.flatnonzero(before[:, kind]), found)
        a, b = (numbered_repeats(keys[rows, kind]) for keys, rows in ((now, open_), (before, left)))
        _, in_now, in_before = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        found[open_[in_now]] = left[in_before]
    return found


def numbered_repeats(keys: np.ndarray) -> np.ndarray:
    """Keys with the number of the time that each comes, as one, (N,)."""
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] + np.uint64(1)))
    times = np.empty(len(keys), np.uint64)
    times[order] = np.arange(len(keys)) - np.repeat(first, np.diff(first, append=len(keys)))
    both = np.empty(len(keys), [("key", np.uint64), ("time", np.uint64)])
    both["key"], both["time"] = keys, times
    return both


def people_kept(
    groups: Groups, features: Features, names: list[str] | None, before: tuple[Groups, People] | None
) -> People:
    """Who the people of these clusters are, beside the clusters that were there before."""
    faces = keys_of_faces(features, names)
    if before is None:
        return People(np.arange(1, len(groups) + 1), len(groups) + 1, faces)
    clusters, people = before
    id_of_face = np.append(np.full(len(people.faces), -1), -1)  # the last for an image that is new
    id_of_face[clusters.members] = people.ids[clusters.owners]
    ids, next_id = ids_kept(groups, id_of_face[same_faces(people.faces, faces)], people.next_id)
    return People(ids, next_id, faces)


def ids_kept(groups: Groups, person_before: np.ndarray, next_id: int) -> tuple[np.ndarray, int]:
    """The id of each group, int64 (G,), and the next one never used.

    `person_before`, int64 (N,), is the id that each row's image had, -1 for none. The largest overlap of a
    group with a person of before comes first: so a merge keeps the larger one's id, and of what was one
    person the larger part.
    """
    owners, before = groups.owners, person_before[groups.members]
    pairs, overlap = np.unique(np.stack([before, owners])[:, before >= 0], axis=1, return_counts=True)
    ids, taken = np.full(len(groups), -1, np.int64), set()
    for place in np.lexsort((pairs[1], pairs[0], -overlap)):
        person, group = pairs[:, place].tolist()
        if ids[group] < 0 and person not in taken:
            ids[group] = person
            taken.add(person)
    new = np.flatnonzero(ids < 0)
    ids[new] = next_id + np.arange(len(new))
    return ids, next_id + len(new)
