"""What the graph networks see of proposals and members, and the clusters chosen by their judgement."""
