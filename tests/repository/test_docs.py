"""README against the scripts: every command in it exists, and every option of every parser."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMON = {"--help", "--version", "--quiet", "--debug"}


def targets():
    """The Python script behind each shell script that has one, by the shell script's name."""
    pattern = re.compile(r'^exec "\$python" "\$here/(\w+)\.py" "\$@"$', re.MULTILINE)
    found = {path.name: pattern.search(path.read_text()) for path in REPOSITORY.glob("run_*.sh")}
    return {name: match[1] for name, match in sorted(found.items()) if match}


TARGETS = targets()


def actions(script):
    parser = importlib.import_module(TARGETS[script]).get_parser()
    assert parser.prog == script
    return {name: action for action in parser._actions for name in action.option_strings if name[:2] == "--"}


def commands():
    """The arguments of each `sh run_*.sh ...` in README's blocks of code and in its tables."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(sh run_[^`]+)`", README)
    parts = [part for line in lines for part in re.split(r"&&|\|", line)]
    return [words for part in parts if (words := shlex.split(part, comments=True))[:1] == ["sh"]]


def table(script):
    """The rows of a script's table of options: option, then default and meaning."""
    section = re.search(rf"^### {re.escape(script)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert section, f"README has no section ### {script}"
    return dict(re.findall(r"^\| `(--[\w-]+)` \|(.*)\|$", section[1], re.MULTILINE))


def test_readme_shows_commands():
    assert len(commands()) > 10


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_in_readme_exists_with_its_options(words):
    script = words[1]
    assert (REPOSITORY / script).is_file()
    if script in TARGETS:
        known = actions(script)
        assert [word for word in words[2:] if word[:2] == "--" and word.split("=")[0] not in known] == []


@pytest.mark.parametrize("script", TARGETS)
def test_readme_has_every_option_of_a_script_and_no_other(script):
    assert set(table(script)) == set(actions(script)) - COMMON


@pytest.mark.parametrize("script", TARGETS)
def test_readme_has_the_defaults(script):
    rows = table(script)
    for name, action in actions(script).items():
        shown = isinstance(action.default, str | int | float | Path) and action.default is not False
        if name in rows and shown and not Path(str(action.default)).is_absolute():
            assert rows[name].split("|")[0].strip() == f"`{action.default}`", name


@pytest.mark.parametrize("script", TARGETS)
def test_help_ends_with_examples_of_the_script(script):
    parser = importlib.import_module(TARGETS[script]).get_parser()
    assert parser.epilog.startswith("examples:\n")
    assert f"sh {script}" in parser.epilog


def test_every_shell_script_stands_in_readme():
    assert [path.name for path in REPOSITORY.glob("run_*.sh") if path.name not in README] == []
