"""Choices and defaults of the stages' options, apart from what computes with them: all that --help loads."""

CROPS = ("arcface", "dlib", "none")  # how images were aligned
NEIGHBORS = 80  # k of the affinity graph
SEARCHES = ("auto", "exact", "ivf")
THRESHOLD = 0.5  # standard deviations above impostor pairs; weak networks tell people apart no higher
ROUNDS = 32
MAX_SIZE = 20_000  # faces in a proposal
SELECTIONS = ("cut", "rank")  # ways to choose among scored proposals
