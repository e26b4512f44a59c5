"""The affinity graph: nearest neighbors found exactly, by inverted lists, or on a GPU."""
