"""How every script takes its arguments and ends: one parser, one exit path."""

import argparse
import atexit
import ctypes
import errno
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from common import __version__
from common.errors import EnvironmentFault, FaultError, InputError, UsageError
from common.inputs import bus_error_line
from common.profile import forget_steps
from common.progress import begin, printable, set_quiet, warn

MAX_NUMBER = 10**9  # of an option: more than any use needs, and within int32 and float32
Number = TypeVar("Number", int, float)
_bus_handler: object = None  # kept, as the system calls it

_MACHINE_ERRNOS = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EFBIG: "the file grew past the allowed size (ulimit -f, or the file system's limit)",
    errno.EEXIST: "is not a folder: remove it or choose another --output",
    errno.EACCES: "no permission: check the owner and mode of the file and of its folder",
    errno.EPERM: "not permitted: check the owner and mode of the file and of its folder",
    errno.EROFS: "the file system is read-only: choose another output place",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
}


def make_parser(script: str, description: str, examples: str) -> argparse.ArgumentParser:
    """The parser that every script starts from: defaults in --help, examples below, common options.

    `script` is the command the user types, such as ``run_proposal.sh``.
    """
    parser = _Parser(
        prog=script,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--quiet", action="store_true", help="print only results, warnings and errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; --help says the rest."""

    def error(self, message: str) -> NoReturn:
        warn(f"{self.prog}: error: {' '.join(message.split())}: see --help")
        self.exit(2)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults beside each option, examples with their line breaks; flags get no default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, True) or action.default is argparse.SUPPRESS:
            return action.help
        return super()._get_help_string(action)


def at_least(least: Number) -> Callable[[str], Number]:
    """An argparse type: a number of the kind of `least`, int or float, that is not below it.

    None is above MAX_NUMBER, so that it may be added to and multiplied.
    """

    def number(text: str) -> Number:
        value = type(least)(text)
        if not least <= value <= MAX_NUMBER:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least:g} to {MAX_NUMBER}")
        return value

    number.__name__ = type(least).__name__  # argparse names it where the text is no number
    return number


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """The options of a script that reads a feature file."""
    parser.add_argument("--features", type=Path, default=Path("feature.bin"), help="feature file to read")
    parser.add_argument(
        "--dim", type=at_least(1), help="length of a row, where no .json lies beside the features"
    )


def output_path(text: str) -> Path:
    """argparse type: the path of a file or folder to write."""
    path = Path(text)
    if path.name in ("", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file or folder to write")
    return path


def output_beside_json(text: str) -> Path:
    """argparse type: the path of a file to write, with a file of the same name but `.json` beside it."""
    path = output_path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    if path.suffix == ".json":
        raise argparse.ArgumentTypeError(f"{text}: the name with .json is for the file beside it")
    return path


def refuse_overwriting(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise `UsageError` where something that is read would be overwritten."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise UsageError(f"{path}: is read, so it cannot be written as well: choose another --output")


def run(
    main: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
    resume_hint: str = "run the same command again: it starts this stage anew",
) -> int:
    """Parse, run `main`, and turn every end into an exit code and at most one line on stderr.

    Returns 0, or 2 (usage), 3 (input), 4 (environment), 130 (interrupted). With --debug the
    traceback of an error is shown before its line.
    """
    error: Exception
    debug = False
    begin()
    forget_steps()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
    # A last collection, which looks through all objects of torch for nothing, would take a second.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    interrupted_line = f"{parser.prog}: interrupted; {resume_hint}"
    _end_on_signals(interrupted_line, parser.prog)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a name's letters
    try:
        args = parser.parse_args(argv)
        debug = args.debug
        set_quiet(args.quiet)
        main(args)
        return 0
    except KeyboardInterrupt:
        _drop_stdout()
        warn(interrupted_line)
        return 130
    except BrokenPipeError:
        _drop_stdout()
        return 0
    except FaultError as fault:
        error, code, line = fault, fault.exit_code, str(fault)
    except MemoryError as fault:
        error, code, line = fault, EnvironmentFault.exit_code, _memory_line(fault)
    except OSError as fault:
        error, code = fault, EnvironmentFault.exit_code
        line = _os_line(fault)
    except Exception as fault:  # a defect of ours: still one line, and how to tell us
        error, code = fault, 1
        line = f"unexpected {type(fault).__name__}: {fault}; run again with --debug and report it"
    if debug:
        import traceback

        traceback.print_exception(error)
    warn(f"{parser.prog}: error: {' '.join(line.split())}")
    return code


def _end_on_signals(interrupted: str, prog: str) -> None:
    """Ctrl-C and SIGTERM raise `KeyboardInterrupt`; a second one, while that is cleared up, ends at once.

    A bus error, of a memory map whose file was cut short, ends with a line that says so.
    """
    began: list[bool] = []

    def interrupt(*_: object) -> None:
        if began:
            os.write(2, f"{printable(interrupted)}\n".encode(errors="backslashreplace"))
            os._exit(130)
        began.append(True)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of a command in the background
            signal.signal(number, interrupt)
    _say_bus_error(prog)


def _say_bus_error(prog: str) -> None:
    # Not by `signal`, whose handlers wait for the instruction that caused it to end, which it never does.
    def end(_: int) -> None:
        os.write(2, f"{prog}: error: {printable(bus_error_line())}\n".encode(errors="backslashreplace"))
        os._exit(InputError.exit_code)

    global _bus_handler
    _bus_handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    ctypes.CDLL(None).signal(signal.SIGBUS, _bus_handler)


def _memory_line(fault: MemoryError) -> str:
    return f"out of memory ({fault or 'no details'}): close other programs or use a bigger machine"


def _os_line(fault: OSError) -> str:
    place = f"{fault.filename}: " if fault.filename else ""
    remedy = _MACHINE_ERRNOS.get(fault.errno or 0)
    return place + (remedy or f"{fault.strerror or fault}")


def _drop_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    if sys.stdout:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
