#!/bin/sh
# Make pages that show the people found, to review in a browser.
#
# Input:   clusters.txt, and what the earlier stages wrote beside it
# Output:  report/index.html in the working directory (--output), which opens without a server
# Cost:    one thumbnail of about 4 kB per image, made once
# Example: sh run_report.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/report.py" "$@"
