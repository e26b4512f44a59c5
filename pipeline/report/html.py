"""The report's folder: one page, its styles and scripts, its data, and thumbnails.

index.html is written last and names the folder with everything else, so that a report that opens is
complete, whenever a run was stopped. Thumbnails lie beside, for every run to use again.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InputError

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.files.atomic import (
    digest_file,
    part_path,
    refuse_irregular,
    refuse_other_than_folder,
    refuse_others_in_folder,
    remove_folder,
    whole_file,
    whole_folder,
)

TEMPLATES = Path(__file__).resolve().parent / "templates"
GENERATOR = "run_report.sh"
SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        "data",
        "photo",
        "corrections",
        "people",
        "record",
        "widgets",
        "actions",
        "cards",
        "review",
        "page",
    )
)
PAGE, THUMBNAILS, STAGED = "index.html", "thumbs", "data-new"
DATA = re.compile(r"data-([0-9a-f]{12}|new)|\.data-new\.face-clusters-(part|old)")
DATA_FILES = ("report.css", "*.js", "*.svg")
THUMBNAIL = re.compile(r"[0-9a-f]{14}\.jpg|\.[0-9a-f]{14}\.jpg\.face-clusters-part")


def refuse_other_folder(output: Path) -> None:
    """Raise `InputError` where `output` is there and is no report."""
    refuse_other_than_folder(output)
    if not output.exists():
        return
    page, thumbnails = output / PAGE, output / THUMBNAILS
    refuse_irregular(page)
    refuse_other_than_folder(thumbnails)
    ours = (PAGE, part_path(page).name, THUMBNAILS)
    data = [path for path in output.iterdir() if DATA.fullmatch(path.name)]
    other = [path for path in output.iterdir() if path.name not in ours and path not in data]
    if other or (page.exists() and GENERATOR not in page.read_text("utf-8", "replace")[:1000]):
        raise InputError(f"{output}: holds other things than a report: choose another --output")
    for folder in data:
        refuse_others_in_folder(folder, DATA_FILES)


def write_report(
    output: Path, data: dict[str, Any], words: dict[str, Any], draw: Callable[[Path], list[Any]]
) -> None:
    """Write `data`, by name, and the page that shows them; `words` are what the template says.

    `draw` draws charts into a folder and returns what the template is to say of them.
    """
    data["index"]["id"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    staged = output / STAGED
    with whole_folder(staged, holds=DATA_FILES) as folder:
        for name in ("report.css", *SCRIPTS):
            shutil.copyfile(TEMPLATES / name, folder / name)
        for name, value in data.items():
            (folder / f"{name}.js").write_text(f"deliver({as_script(name)}, {as_script(value)});\n", "ascii")
        charts = draw(folder)
    digests = "".join(digest_file(path) for path in sorted(staged.iterdir()))
    place = output / f"data-{hashlib.sha256(digests.encode()).hexdigest()[:12]}"
    if not place.exists():
        staged.rename(place)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(PAGE).render(
        words, generator=GENERATOR, folder=place.name, scripts=SCRIPTS, charts=charts
    )
    with whole_file(output / PAGE) as part:
        part.write_text(page, encoding="utf-8")
    for other in output.iterdir():
        if DATA.fullmatch(other.name) and other != place:
            remove_folder(other)


def as_script(value: Any) -> str:
    """JSON that is safe inside a script, in ASCII: nothing in it can end the script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def drop_other_thumbnails(folder: Path, keep: set[Path]) -> None:
    """Remove thumbnails that no face of this report has."""
    for path in folder.glob("*/*"):
        if path not in keep and THUMBNAIL.fullmatch(path.name):
            path.unlink()
