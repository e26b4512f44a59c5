"""Sets and examples to train the graph networks on."""
