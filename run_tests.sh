#!/bin/sh
# Run every check: lint, format, shell scripts, types, tests.
#
# Input:   nothing, or `quick` for lint, types and the tests that need no process, cluster or browser;
#          further arguments go to pytest
# Output:  the checks' own words; the exit code is 0 where all pass
# Cost:    minutes on two cores; the first run also installs what it needs
# Example: sh run_tests.sh
#          sh run_tests.sh quick
#          sh run_tests.sh tests/pipeline/test_metrics.py -k nmi
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/scripts/shell.sh"
case ${1:-} in
-h | --help | --version) help_and_version "$1" ;;
esac
if [ "${1:-}" = quick ]; then
    shift
    set -- -m "not slow and not ray and not browser and not process" --ignore tests/stages "$@"
fi
find_python requirements.txt requirements-dev.txt requirements-ray.txt requirements-photos.txt requirements-detector.txt

cd "$here"
PATH=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH
"$python" -m ruff check .
"$python" -m ruff format --check .
shellcheck ./*.sh scripts/*.sh .ci/run
"$python" -m mypy common pipeline model stages distributed
# The page's scripts are parsed, and axe-core judges the page, where there is node with npm.
if command -v node >/dev/null; then
    for script in pipeline/report/templates/*.js; do node --check "$script"; done
else
    say "node is not there: the page's scripts are not checked"
fi
if command -v npm >/dev/null && [ ! -d tests/node_modules/axe-core ]; then
    npm install --prefix tests --no-package-lock --no-audit --no-fund --silent ||
        say "axe-core could not be installed: the page is not judged by it"
fi
exec "$python" -m pytest "$@"
