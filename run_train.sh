#!/bin/sh
# Train the graph networks, which score proposals and members, on features with known identities.
#
# Input:   feature files and their labels
# Output:  weights as .safetensors
# Cost:    minutes to hours, by the number of rows; a GPU is used where there is one
# Example: sh run_train.sh --help
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/train.py" "$@"
