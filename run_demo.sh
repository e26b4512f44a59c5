#!/bin/sh
# Run every stage: on a drawn sample, on your photos, or on your own list of face crops.
#
# Input:   nothing; or a FOLDER of photos, and options of run_align.sh; or a FILELIST with the path of one
#          face crop per line, and options of run_preprocess.sh
# Output:  for the sample demo/ in the working directory; else what the stages write there
# Cost:    under a minute for the sample; the first run also installs what it needs
# Example: sh run_demo.sh
#          sh run_demo.sh photos
#          sh run_demo.sh crops.txt
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
case ${1:-} in
-*)
    help_and_version "$1"
    fail 2 "$1 is where the photos or the file list belong: \`sh run_demo.sh FOLDER $1 ...\`"
    ;;
esac
find_python requirements.txt

sample=
if [ $# -eq 0 ]; then
    sample=yes
    "$python" "$here/scripts/draw_sample.py" --output demo
    cd demo
    set -- faces.txt
elif [ -d "$1" ]; then
    sh "$here/run_align.sh" "$@"
    set -- faces.txt
fi
sh "$here/run_preprocess.sh" "$@"
sh "$here/run_proposal.sh"
sh "$here/run_predict.sh"
if [ "$sample" ]; then
    sh "$here/run_report.sh" --labels labels.txt
    sh "$here/run_evaluate.sh" clusters.txt labels.txt
else
    sh "$here/run_report.sh"
fi
echo "the people found are in $(pwd)/clusters.txt, one person per line; to see them, open $(pwd)/report/index.html"
