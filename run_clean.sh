#!/bin/sh
# Remove what the stages leave in this folder and can make again; clusters.txt stays.
#
# Input:   the folder this script lies in; nothing outside it is touched
# Output:  removes feature.bin, feat.bin, their .json, .images and unfinished parts, and super_vertex, here and in
#          demo/, and every __pycache__ outside .venv; of a link, only the link
# Cost:    nothing
# Example: sh run_clean.sh
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
if [ $# -gt 0 ]; then
    help_and_version "$1"
    fail 2 "takes no argument, got $1: run it alone"
fi

remove() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        rm -rf -- "$1"
        echo "removed $1"
    fi
}

for folder in "$here" "$here/demo"; do
    if [ ! -L "$folder" ]; then
        for path in "$folder"/feature.bin "$folder"/feature.json "$folder"/feature.images \
            "$folder"/feat.bin "$folder"/feat.json "$folder"/feat.images \
            "$folder"/super_vertex "$folder"/.feature.*.face-clusters-* \
            "$folder"/.super_vertex.face-clusters-*; do
            remove "$path"
        done
    fi
done
find "$here" \( -name .venv -o -name .git \) -prune -o \
    -type d -name __pycache__ -prune -exec rm -rf {} \; -exec echo removed {} \;
