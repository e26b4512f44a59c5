#!/bin/sh
# Score the proposals with the graph network, rank them, and keep a set without overlap.
#
# Input:   feature.bin and super_vertex/ in the working directory (--features, --proposals)
# Output:  clusters.txt and clusters.json in the working directory (--output)
# Cost:    seconds for 10,000 rows on two cores
# Example: sh run_predict.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/predict.py" "$@"
