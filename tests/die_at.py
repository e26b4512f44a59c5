"""Run a script that is killed, without a last word, right before its N-th renaming of a file or folder.

python tests/die_at.py N SCRIPT ARGUMENTS
"""

import os
import runpy
import signal
import sys
from pathlib import Path


def watch(last: int) -> None:
    """Die at the given renaming below the working directory."""
    here, seen = Path.cwd(), 0

    def on_event(event: str, values: tuple) -> None:
        nonlocal seen
        if event == "os.rename" and here in Path(values[0]).absolute().parents:
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)


if __name__ == "__main__":
    watch(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
