#!/bin/sh
# Propose groups of rows that might be one person, from the affinity graph of the features.
#
# Input:   feature.bin and feature.json in the working directory (--features)
# Output:  super_vertex/ in the working directory (--output)
# Cost:    exact search: grows with the square of the rows
# Example: sh run_proposal.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/proposal.py" "$@"
