"""The photo and the box of each face, for the page's dialog."""

from collections.abc import Iterable
from typing import Any

from pipeline.files.faces import PhotoFace, faces_of_crops
from pipeline.files.filelist import FileList


def add_photos(shards: Iterable[dict[str, Any]], filelist: FileList | None) -> None:
    """Tell each shard of faces the photos that they come from, where `faces.json` lies beside the list.

    `photos` are paths; `boxes` has for each face the number of its photo, and left, top, width and height
    of its box in percent of the photo as displayed, or None.
    """
    where = faces_of_crops(filelist.path) if filelist else {}
    for shard in shards if where else ():
        faces = [where.get(name) for name in shard["names"]]
        number_of = {photo: number for number, photo in enumerate(dict.fromkeys(f.photo for f in faces if f))}
        shard["photos"] = [str(photo.absolute()) for photo in number_of]
        shard["boxes"] = [[number_of[face.photo], *in_percent(face)] if face else None for face in faces]


def in_percent(face: PhotoFace) -> list[float]:
    """Left, top, width and height of a face's box in percent of its photo."""
    width, height = face.size
    left, top, right, bottom = face.box
    parts = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    return [round(100 * part, 2) for part in parts]
