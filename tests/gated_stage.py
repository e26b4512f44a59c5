"""Runs a stage whose tasks of one function, those with a text in their arguments, wait for a file
`open` in a folder.

Each leaves a file named after the node it waits on, so that a test can remove that very node, and
its process id in it. The empty text is in all.

    python tests/gated_stage.py FOLDER MODULE FUNCTION TEXT STAGE ARGUMENTS...
"""

import importlib
import os
import sys
import time
from pathlib import Path

import ray

folder, module, function, text, stage = sys.argv[1:6]
repository = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(repository))
sys.argv[:6] = [str(repository / f"{stage}.py")]  # where Ray's workers look for modules

cli = importlib.import_module("common.cli")
target = importlib.import_module(module)
plain = getattr(target, function)


def gated(*args, **kwargs):
    if text not in repr(args):
        return plain(*args, **kwargs)
    Path(folder, ray.get_runtime_context().get_node_id()).write_text(str(os.getpid()))
    while not Path(folder, "open").exists():
        time.sleep(0.02)
    return plain(*args, **kwargs)


setattr(target, function, gated)
ray.cloudpickle.register_pickle_by_value(target)  # or the workers would load it as it is on disk
script = importlib.import_module(stage)
sys.exit(cli.run(script.main, script.get_parser()))
