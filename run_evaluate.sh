#!/bin/sh
# Score clusters against known identities: pairwise and BCubed precision, recall and F, and NMI.
#
# Input:   CLUSTERS as run_predict.sh writes them, LABELS with one identity per row
# Output:  a table on stdout
# Cost:    seconds for a million rows
# Example: sh run_evaluate.sh clusters.txt labels.txt
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/evaluate.py" "$@"
