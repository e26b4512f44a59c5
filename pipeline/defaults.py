"""Choices and defaults of the stages' options, apart from what computes with them: all that --help loads."""

CROPS = ("arcface", "dlib", "none")  # how images were aligned
NEIGHBORS = 80  # k of the affinity graph, as Yang et al., CVPR 2019, have it
SEARCHES = ("auto", "exact", "ivf")
# Standard deviations above impostor pairs; weak networks tell people apart no higher. Cross-validated on
# lfw/train+glint8 in both networks of benchmarks/, 0 to 1.5 change BCubed F by 0.4 at most.
THRESHOLD = 0.5
ROUNDS = 32  # thresholds of a hierarchy
MAX_SIZE = 20_000  # faces in a proposal
SELECTIONS = ("cut", "rank")  # ways to choose among scored proposals
