"""The data of the report's page: on every cluster from the start, on faces when they are shown."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from common.progress import count

import numpy as np

from pipeline.corrections.matching import network_of, sketch_rows
from pipeline.corrections.said import save_corrections
from pipeline.files.corrections import Corrections, corrections_json, encode_sketches
from pipeline.files.features import Features
from pipeline.files.filelist import FileList
from pipeline.groups import Groups, labels_from_groups, people_in_words
from pipeline.judging.doubts import Doubts
from pipeline.report.checks import Inspection

FACES_A_SHARD = 5000  # faces in a file of the page's data, loaded when they are shown
HOPELESS = 0.01  # least chance of being one person at which two are offered as the same
DOUBTFUL = 0.1  # least chance of being two people at which the user is asked; the page has the same number


def index_data(
    features: Features,
    clusters: Groups,
    inspection: Inspection,
    doubts: Doubts,
    found: dict[str, Any],
    filelist: FileList | None,
    thumbnails: dict[int, str],
) -> dict[str, Any]:
    """What the page knows of every cluster from the start."""
    several = clusters.sizes > 1
    worse = np.where(inspection.rival >= 0, inspection.rival_fit - inspection.fit, -inspection.fit - 100)
    large = clusters.sizes > 2
    mixed = np.where(large, np.maximum.reduceat(worse, clusters.offsets[:-1]), -1000)
    return {
        "named": filelist is not None,
        "root": image_root(filelist),
        "network": network_of(features),
        "people": int(several.sum()),
        "typical": middle(inspection.inside[several]),
        "outside": middle(inspection.outside[doubts.near[:, 0] >= 0]),
        "sizes": clusters.sizes.tolist(),
        "iou": found.get("predicted_iou"),
        "ids": found.get("ids"),
        "covers": [thumbnails[row] for row in inspection.members[clusters.offsets[:-1]].tolist()],
        "near": [
            [pair for pair in zip(near, chance, strict=True) if pair[1] >= HOPELESS]
            for near, chance in zip(doubts.near.tolist(), rounded(doubts.chance, 3), strict=True)
        ],
        "cuts": [
            [*cut, chance]
            for cut, chance in zip(doubts.cuts.tolist(), rounded(doubts.cut_chance, 3), strict=True)
            if 1 - chance >= DOUBTFUL
        ],
        "mixed": rounded(mixed),
        "shards": shard_starts(clusters).tolist(),
        "unreadable": int((~features.usable).sum()),
        "doubtful": features.meta.get("doubtful", []),
    }


def corrections_data(
    corrections: Corrections,
    features: Features,
    clusters: Groups,
    filelist: FileList | None,
    found: dict[str, Any],
    thumbnails: dict[int, str],
) -> dict[str, Any]:
    """The corrections so far, in the form of their file with each face's cluster, and people's names."""
    names = filelist.names if filelist else None
    saved = corrections_json(save_corrections(corrections, features, names))
    cluster_of = labels_from_groups(clusters, len(features.rows))
    for face in saved["faces"]:
        face["cluster"] = int(cluster_of[face["row"]])
        face["thumb"] = thumbnails.get(face["row"], "")
    # Corrections, where given, decide the names, and may have changed them.
    told = {} if corrections.people else found
    names_told = [[cluster, name] for cluster, name in enumerate(told.get("names", [])) if name]
    return {"corrections": saved, "names": names_told, "hidden": told.get("hidden", [])}


def face_data(
    features: Features,
    clusters: Groups,
    inspection: Inspection,
    doubts: Doubts,
    filelist: FileList | None,
    thumbnails: dict[int, str],
) -> dict[str, Any]:
    """What the page loads to show the faces of some clusters, by the name of the file."""
    data = {}
    alike = np.empty(int(doubts.alike.max(initial=-1)) + 1, np.int64)
    alike[doubts.alike] = np.arange(len(doubts.alike)) - np.repeat(clusters.offsets[:-1], clusters.sizes)
    ends = clusters.offsets[np.append(shard_starts(clusters), len(clusters))].tolist()
    for number, (first, last) in enumerate(pairwise(ends)):
        rows = inspection.members[first:last]
        rivals = np.flatnonzero(inspection.rival[first:last] >= 0)
        data[f"faces_{number}"] = {
            "rows": rows.tolist(),
            "names": [filelist.names[row] for row in rows.tolist()] if filelist else None,
            "thumbs": [thumbnails[row] for row in rows.tolist()] if filelist else None,
            "fits": rounded(inspection.fit[first:last]),
            "alike": alike[rows].tolist(),
            "sketches": encode_sketches(sketch_rows(features.rows[rows])),
            "rivals": {
                int(place): [int(inspection.rival[first + place]), fit]
                for place, fit in zip(rivals, rounded(inspection.rival_fit[first:last][rivals]), strict=True)
            },
        }
    return data


def shard_starts(clusters: Groups) -> np.ndarray:
    """The first cluster of each shard of the data, int64; a cluster is never cut."""
    return np.unique(clusters.offsets[:-1] // FACES_A_SHARD, return_index=True)[1]


def unreadable_data(features: Features, filelist: FileList | None) -> list[list[Any]]:
    """Row, image and reason of each row that has no feature."""
    told = {entry.get("row"): str(entry.get("reason")) for entry in features.meta.get("unreadable", [])}
    return [
        [row, filelist.names[row] if filelist else None, told.get(row, "its feature is zeros")]
        for row in np.flatnonzero(~features.usable).tolist()
    ]


def image_root(filelist: FileList | None) -> str:
    """The folder that the names of the list are relative to: the list's own, or the working directory."""
    if filelist is None:
        return ""
    return str(filelist.paths[0].absolute()).removesuffix(filelist.names[0])


def words_of(
    index: dict[str, Any], clusters: Groups, found: dict[str, Any], clusters_path: Path, images: int
) -> dict[str, Any]:
    """What the page says before its data are loaded; `images` is how many there are."""
    people = people_in_words(clusters, found.get("hidden", []), images)
    return {
        "summary": f"{count(images, 'image')}: {people}",
        "people": index["people"],
        "alone": len(index["sizes"]) - index["people"],
        "to_check": index["unreadable"] + sum(kind["count"] for kind in index["doubtful"]),
        "typical": index["typical"],
        "outside": index["outside"],
        "clusters": clusters_path.name,
    }


def middle(similarities: np.ndarray) -> float:
    """The median of similarities; 0, that of impostor pairs, where there are none."""
    return float(np.median(similarities)) if len(similarities) else 0.0


def rounded(values: np.ndarray, decimals: int = 2) -> list[Any]:
    """Rounded to a few decimals, for smaller files."""
    return np.round(values.astype(np.float64), decimals).tolist()
