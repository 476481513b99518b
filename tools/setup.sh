#!/usr/bin/env bash
# Builds .venv: Python 3.12 and every package that requirements.txt and requirements-dev.txt pin, checked by hash.
# `make` calls this when .venv is missing, unfinished or older than they are.
# It looks for Python 3.12 by itself; `make setup PYTHON=/path/to/python3.12` names one.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=${PATH#"$PWD/.venv/bin:"} # what is about to be replaced must not build itself

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

# Prints the path of the interpreter behind command $1, if that really runs and is a Python 3.12
# (pyenv's shims exist for versions that are not active, and fail).
python312() {
    "$1" -c 'import os, sys; sys.version_info[:2] == (3, 12) or sys.exit(1); print(os.path.realpath(sys.executable))' \
        2>/dev/null </dev/null
}

find_python() {
    local candidate
    for candidate in python3.12 python3 "$(pyenv root 2>/dev/null)"/versions/3.12*/bin/python \
        ~/.pyenv/versions/3.12*/bin/python; do
        python312 "$candidate" && return
    done
}

# Prints the path of a uv: the one on PATH, else the locked one, installed in folder $1 with whatever pip there is.
find_uv() {
    local python
    uv --version >/dev/null 2>&1 && { command -v uv; return; }
    awk '/^uv==/ { on = 1 } on { print; if (!/\\$/) exit }' requirements-dev.txt >"$1/uv.txt"
    for python in ${base:+"$base"} python3 /usr/bin/python3; do
        # A venv has a pip even where the system has none; Debian without python3-venv may still have a pip.
        { "$python" -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --require-hashes -r "$1/uv.txt" ||
            { rm -rf "$1/venv" && # pip leaves out the programs where there is a bin already
                "$python" -m pip install --quiet --target "$1/venv" --require-hashes -r "$1/uv.txt"; }; } \
            >"$1/log" 2>&1 && { echo "$1/venv/bin/uv"; return; }
    done
    cat "$1/log" >&2
    return 1
}

[ "$(uname -sm)" = "Linux x86_64" ] || die "requirements.txt is for Linux on x86_64, this is $(uname -sm)."

# uv does not read pip's settings, and whoever needs a mirror may have told only pip.
[ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] ||
    UV_DEFAULT_INDEX=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null)} || true
[ -z "${UV_DEFAULT_INDEX:-}" ] || export UV_DEFAULT_INDEX

# .complete is written last: without it .venv is anything, and only building it anew makes it whole.
if [ -e .venv/.complete ] && python312 .venv/bin/python >/dev/null && .venv/bin/uv --version >/dev/null; then
    uv=.venv/bin/uv
else
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    if [ -n "${PYTHON:-}" ]; then
        base=$(python312 "$PYTHON") || die "PYTHON=$PYTHON is not a Python 3.12 that runs."
    else
        base=$(find_python) || base=
    fi
    uv=$(find_uv "$tmp") ||
        die "uv, which installs the rest, could not be had: 'sudo apt install python3-venv' on Debian and Ubuntu" \
            "(python3.12-venv for their Python 3.12), elsewhere install uv, then run 'make' again."
    [ -n "$base" ] || base=$(python312 "$("$uv" python find --system 3.12 2>/dev/null)") ||
        { say "no Python 3.12 here, uv fetches one" && "$uv" python install 3.12 >&2 &&
            base=$(python312 "$("$uv" python find --system 3.12)"); } ||
        die "install Python 3.12 ('sudo apt install python3.12-venv' on Ubuntu 24.04, elsewhere with uv, pyenv or conda)," \
            "then run 'make' again, or name one: 'make setup PYTHON=/path/to/python3.12'."
    say "installing $(cat requirements*.txt | grep -c '^[^ #]') packages (8 GB) into .venv; a first download takes minutes"
    rm -rf .venv
    "$uv" venv --quiet --python "$base" .venv
fi

rm -f .venv/.complete
"$uv" pip install --python .venv/bin/python --require-hashes -r requirements.txt -r requirements-dev.txt
touch .venv/.complete

.venv/bin/python -c 'import ctypes; [ctypes.CDLL(name) for name in ("libGL.so.1", "libOpenGL.so.0")]' 2>/dev/null ||
    say "PhysX also needs libGL.so.1 and libOpenGL.so.0: on Debian and Ubuntu 'sudo apt install libgl1 libopengl0 libglx0'."
