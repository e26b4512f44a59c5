# What every run_*.sh shares. Sourced, after `here` is set to the folder the scripts lie in.
# shellcheck shell=sh
: "${here:?}"

# fail CODE TEXT: one line on stderr, then exit (2 usage, 3 input, 4 environment).
fail() {
    printf '%s: error: %s\n' "$(basename -- "$0")" "$2" >&2
    exit "$1"
}

# say TEXT: one line on stderr; stdout is for results.
say() {
    printf '%s\n' "$1" >&2
}

# help_and_version ARGUMENT: answer --help with the calling script's header, and --version.
help_and_version() {
    case $1 in
    -h | --help)
        sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --version)
        printf '%s %s\n' "$(basename -- "$0")" "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/common/__init__.py")"
        exit 0
        ;;
    esac
}

# find_python REQUIREMENTS...: leave in $python an interpreter that has these requirements files.
# $PYTHON where set, else .venv beside the scripts, else that is set up.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        _check_users_python "$@"
        return
    fi
    _venv=$here/.venv
    python=$_venv/bin/python
    for _file in "$@"; do
        if [ "$(_installed "$_file")" != "$(cksum <"$here/$_file")" ]; then
            _set_up "$_file"
        fi
    done
}

_is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# The user's own interpreter is checked but never changed. Its path is made absolute, for scripts
# that go on to another folder.
_check_users_python() {
    python=$(command -v -- "$PYTHON") || fail 4 "PYTHON is $PYTHON, which is no command: correct or unset it"
    case $python in
    /*) ;;
    *) python=$PWD/$python ;;
    esac
    PYTHON=$python
    _is_new_enough "$python" || fail 4 "PYTHON is $python, which is not Python 3.10 or later: correct or unset it"
    for _file in "$@"; do
        _missing=$("$python" "$here/scripts/missing_packages.py" "$here/$_file")
        [ -z "$_missing" ] || fail 4 "PYTHON is $python, which lacks $_missing: run \`$python -m pip install -r '$here/$_file'\`, or unset PYTHON"
    done
}

# The checksum of the requirements file that was last installed whole, or nothing.
_installed() {
    if [ ! -e "$_venv/unfinished" ] && [ -e "$_venv/installed-$1" ] && _is_new_enough "$python"; then
        cat "$_venv/installed-$1"
    fi
}

# Install a requirements file into .venv, making .venv where there is none that can be used.
# The file `unfinished` holds the process id of the set-up, and outlives it only where it was killed.
_set_up() {
    if [ -e "$_venv/unfinished" ]; then
        _pid=$(cat "$_venv/unfinished")
        if [ -n "$_pid" ] && kill -0 "$_pid" 2>/dev/null; then
            fail 4 "process $_pid is setting up $_venv: wait until it is done, and run this again"
        fi
        say "an earlier set-up of $_venv was cut short: starting it anew"
        rm -rf "$_venv"
    elif [ -e "$_venv" ] && ! _is_new_enough "$python"; then
        say "$_venv does not hold a Python 3.10 or later that runs: making it anew"
        rm -rf "$_venv"
    fi
    if [ ! -e "$_venv" ]; then
        _make_venv
    fi
    echo $$ >"$_venv/unfinished"
    _wanted=$1
    say "setting up: installing $_wanted into $_venv (once; with PyTorch about 6 GB on disk and a few minutes)"
    set -- -r "$here/$_wanted"
    if [ ! -t 2 ]; then
        set -- "$@" --quiet
    fi
    if [ "$_wanted" = requirements-detector.txt ]; then
        set -- "$@" --no-deps # a file of it is read, and none of its code
    fi
    if ! "$python" -m pip install --disable-pip-version-check --no-input "$@" >&2; then
        rm -f "$_venv/unfinished"
        fail 4 "could not install $here/$_wanted: see the lines above, check the network and the free space, and run this again"
    fi
    cksum <"$here/$_wanted" >"$_venv/installed-$_wanted"
    rm -f "$_venv/unfinished"
}

_make_venv() {
    for _base in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        if _is_new_enough "$_base"; then
            say "setting up: making $_venv with $("$_base" --version)"
            mkdir "$_venv" || fail 4 "could not make $_venv: check the owner and mode of $here"
            echo $$ >"$_venv/unfinished"
            "$_base" -m venv "$_venv" >&2 && return
            rm -rf "$_venv"
            fail 4 "$_base could not make $_venv: see the lines above (on Debian and Ubuntu: install python3-venv)"
        fi
    done
    fail 4 "found no Python 3.10 or later: install one, or set PYTHON to it"
}
