"""XMP sidecars: the people of each photo as keywords, and where their faces are, for photo tools to read.

Regions as the Metadata Working Group's guidelines have them (version 2.0, section 5.9): the middle and
the size of a face's box, in shares of the photo as it is displayed.
"""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from pipeline.exports import Face
from pipeline.files.faces import PhotoFace
from pipeline.files.written import Content, update_folder

TOP = "photos"  # folder within the output that mirrors the photos' common folder
SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}


def write_sidecars(output: Path, faces: list[Face]) -> tuple[list[Path], int]:
    """Write a sidecar for each photo with a name or a face to tell of.

    A face whose photo is not known stands for its own image. Returns the paths of what was kept, as
    `update_folder` does, and the number of sidecars.
    """
    of_photo: dict[Path, list[Face]] = {}
    for face in faces:
        if face.name or face.photo:
            photo = Path(os.path.abspath(face.photo.photo if face.photo else face.path))  # noqa: PTH100  (no `..`)
            of_photo.setdefault(photo, []).append(face)
    common = Path(os.path.commonpath([photo.parent for photo in of_photo])) if of_photo else Path()
    wanted: dict[str, Content] = {
        f"{TOP}/{photo.relative_to(common)}.xmp": partial(sidecar, some) for photo, some in of_photo.items()
    }
    return update_folder(output, wanted), len(wanted)


def sidecar(faces: list[Face]) -> bytes:
    """The XMP of one photo, as UTF-8."""
    for prefix, space in SPACES.items():
        ElementTree.register_namespace(prefix, space)
    root = Element(name("x:xmpmeta"))
    description = SubElement(
        SubElement(root, name("rdf:RDF")), name("rdf:Description"), {name("rdf:about"): ""}
    )
    names = dict.fromkeys(as_xml(face.name) for face in faces if face.name)
    if names:
        add_bag(SubElement(description, name("dc:subject")), names)
    placed = [(face, face.photo) for face in faces if face.photo]
    if placed:
        regions = resource(description, "mwg-rs:Regions")
        width, height = placed[0][1].size
        resource(
            regions,
            "mwg-rs:AppliedToDimensions",
            {"stDim:w": width, "stDim:h": height, "stDim:unit": "pixel"},
        )
        bag = SubElement(SubElement(regions, name("mwg-rs:RegionList")), name("rdf:Bag"))
        for face, photo in placed:
            add_region(bag, face.name, photo)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True)


def add_region(bag: Element, person: str | None, photo: PhotoFace) -> None:
    """A face's box, with the person's name where there is one."""
    region = resource(bag, "rdf:li")
    SubElement(region, name("mwg-rs:Type")).text = "Face"
    if person:
        SubElement(region, name("mwg-rs:Name")).text = as_xml(person)
    (width, height), (left, top, right, bottom) = photo.size, photo.box
    area = {
        "x": (left + right) / 2 / width,
        "y": (top + bottom) / 2 / height,
        "w": (right - left) / width,
        "h": (bottom - top) / height,
    }
    shares = {f"stArea:{key}": f"{value:.6f}" for key, value in area.items()}
    resource(region, "mwg-rs:Area", shares | {"stArea:unit": "normalized"})


def add_bag(parent: Element, texts: Iterable[str]) -> None:
    """An unordered list of texts."""
    bag = SubElement(parent, name("rdf:Bag"))
    for text in texts:
        SubElement(bag, name("rdf:li")).text = text


def resource(parent: Element, tag: str, parts: Mapping[str, object] | None = None) -> Element:
    """An element whose parts are told as elements."""
    made = SubElement(parent, name(tag), {name("rdf:parseType"): "Resource"})
    for key, value in (parts or {}).items():
        SubElement(made, name(key)).text = str(value)
    return made


def name(prefixed: str) -> str:
    """A name as ElementTree has it: with its namespace in the place of the prefix."""
    prefix, local = prefixed.split(":")
    return f"{{{SPACES[prefix]}}}{local}"


def as_xml(text: str) -> str:
    """The text without what XML cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())
