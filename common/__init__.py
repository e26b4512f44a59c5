"""What every script shares whatever its stage: errors, command-line habits, progress."""

__version__ = "0.1.0"
