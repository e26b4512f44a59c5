#!/bin/sh
# Export the people found: a folder for each, or a table of path, cluster and confidence.
#
# Input:   clusters.txt, clusters.json and the file list that the features came from
# Output:  export/ with one folder per person, or export.csv or export.json (--output)
# Cost:    one link per image; with --copy, the disk space of the images
# Example: sh run_export.sh --to folders
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/export.py" "$@"
