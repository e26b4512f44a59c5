"""Cluster proposals: linkage along the affinity graph, round by round."""
