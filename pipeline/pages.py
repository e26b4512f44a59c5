"""The report's folder: one page, what it is styled and run by, its data, and thumbnails.

index.html is written last and names the folder with everything else, so that a report that opens is
whole, whenever a run was stopped. Thumbnails lie beside, for every run to use again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InputError

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.files import remove_folder, whole_file, whole_folder

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
GENERATOR = "run_report.sh"
THUMBNAILS = "thumbs"
DATA = "data-"


def refuse_other_folder(output: Path) -> None:
    """Raise `InputError` where `output` is there and is no report."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InputError(f"{output}: is not a folder of this tool: remove it or choose another --output")
    if not output.exists():
        return
    page = output / "index.html"
    names = [entry.name.lstrip(".") for entry in output.iterdir()]
    ours = all(name.startswith((page.name, THUMBNAILS, DATA)) for name in names)
    if not ours or (page.exists() and GENERATOR not in page.read_text("utf-8", "replace")[:1000]):
        raise InputError(f"{output}: holds other things than a report: choose another --output")


def write_report(
    output: Path, pages: dict[str, Any], words: dict[str, Any], draw: Callable[[Path], list[Any]]
) -> None:
    """Write the data, by name, and the page that shows them; `words` are what the template says.

    `draw` draws charts into a folder and returns what the template is to say of them.
    """
    digest = hashlib.sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()[:12]
    pages["index"]["id"] = digest
    folder = output / f"{DATA}{digest}"
    with whole_folder(folder) as part:
        for name in ("report.css", "report.js"):
            shutil.copyfile(TEMPLATES / name, part / name)
        for name, value in pages.items():
            (part / f"{name}.js").write_text(f"deliver({as_script(name)}, {as_script(value)});\n", "ascii")
        charts = draw(part)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("index.html").render(
        words, generator=GENERATOR, folder=folder.name, charts=charts
    )
    with whole_file(output / "index.html") as part:
        part.write_text(page, encoding="utf-8")
    for other in [*output.glob(f"{DATA}*"), *output.glob(f".{DATA}*")]:
        if other != folder:
            remove_folder(other)


def as_script(value: Any) -> str:
    """JSON that may stand in a script, in ASCII: nothing in it can end the script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def drop_other_thumbnails(folder: Path, keep: set[Path]) -> None:
    """Remove thumbnails that no face of this report has."""
    for path in folder.glob("*/*"):
        if path not in keep:
            path.unlink()
