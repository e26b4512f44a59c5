"""Errors a user can act on; each ends a script with one line on stderr and its own exit code."""


class FaultError(Exception):
    """A fault reported in one line: which file or row, what is wrong, what to do."""

    exit_code = 1


class UsageError(FaultError):
    """The command line contradicts itself or a parameter is out of range."""

    exit_code = 2


class InputError(FaultError):
    """A file given as input is missing, damaged, or does not fit the others."""

    exit_code = 3


class EnvironmentFault(FaultError):
    """The machine cannot do what is asked: disk full, no permission, a missing package, a lock held."""

    exit_code = 4
