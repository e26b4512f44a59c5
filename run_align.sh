#!/bin/sh
# Find the faces in photos and align them, for run_preprocess.sh.
#
# Input:   PHOTOS, folders of photos, photos, or a file list of photos
# Output:  faces/ with one crop per face, faces.txt with their paths, and faces.json, in the working directory
#          (--output)
# Cost:    somewhat over a second per photo of 12 megapixels and core; the first run also installs what it needs
# Example: sh run_align.sh photos
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
find_python requirements.txt requirements-photos.txt requirements-detector.txt
exec "$python" "$here/align.py" "$@"
