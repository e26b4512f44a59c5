#!/bin/sh
# Score the proposals with the graph networks and choose one cluster of faces per person.
#
# Input:   feature.bin and super_vertex/ in the working directory (--features, --proposals)
# Output:  clusters.txt, clusters.json and clusters.faces.npy in the working directory (--output)
# Cost:    grows with the number of proposals; a GPU is used where there is one
# Example: sh run_predict.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/predict.py" "$@"
