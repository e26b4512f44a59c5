#!/bin/sh
# Turn a list of face crops into features with a face ResNet.
#
# Input:   FILELIST, a text file with the path of one face crop per line
# Output:  feature.bin and feature.json in the working directory (--output)
# Cost:    milliseconds per image; on disk 4 bytes for each number of its feature (dlib: 128)
# Example: sh run_preprocess.sh faces.txt
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt
exec "$python" "$here/extract.py" "$@"
