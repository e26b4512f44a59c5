#!/bin/sh
# Make pages that show the people found, to look through in a browser.
#
# Input:   clusters.txt, and what the earlier stages wrote beside it
# Output:  report/index.html in the working directory (--output), which opens without a server
# Cost:    a thumbnail of 4 kB or so an image, made once
# Example: sh run_report.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/report.py" "$@"
