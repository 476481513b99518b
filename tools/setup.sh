#!/usr/bin/env bash
# Builds .venv: Python 3.12 and every package that requirements.txt and requirements-dev.txt pin, checked by hash.
# `make` calls this when .venv is missing, unfinished or older than they are.
# It looks for Python 3.12 by itself; `make setup PYTHON=/path/to/python3.12` names one.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=${PATH#"$PWD/.venv/bin:"} # what is about to be replaced must not build itself
# pyenv puts on PATH only shims, which fail for every version that is not active.
for bin in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin; do PATH+=:$bin; done

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

# bring WHAT PACKAGE...: installs packages of Debian or Ubuntu, if this user may; else says what to type.
bring() {
    local what=$1 as_root=(sudo -n)
    shift
    apt-get --version >/dev/null 2>&1 || die "install $what, then try again."
    [ "$(id -u)" != 0 ] || as_root=()
    "${as_root[@]}" true 2>/dev/null || die "install $what: type 'sudo apt-get install $*', then try again."
    say "installing $* with apt-get: $what"
    # A new machine has no list of packages yet, and may be busy with its own updates.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq
        apt-get install -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"' sh "$@" </dev/null >/dev/null ||
        die "apt-get could not install $*, as it says above."
}

# Prints the first Python that can make an environment with pip (Debian's cannot without python3-venv).
find_pip() {
    local python
    while read -r python; do
        "$python" -c 'import ensurepip' </dev/null >/dev/null 2>&1 && { echo "$python"; return; }
    done < <(type -ap "${PYTHON:-python3.12}" python3.12 python3)
    return 1
}

# Installs the locked uv for the time of the set-up.
install_uv() {
    find_pip >/dev/null || bring "uv, or a Python that has pip" python3-venv
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    awk '/^uv==/ { on = 1 } on { print; if (!/\\$/) exit }' requirements-dev.txt >"$tmp/uv.txt"
    "$(find_pip)" -m venv "$tmp" && "$tmp/bin/python" -m pip install -qq --require-hashes -r "$tmp/uv.txt" ||
        die "pip could not install uv, as it says above; install uv, then try again."
    uv=$tmp/bin/uv
}

[ "$(uname -sm)" = "Linux x86_64" ] ||
    die "$(uname -sm) is not supported, nor is any ARM (Jetson, Grace, Apple M): the pinned packages are for" \
        "Linux x86_64 alone, and so are the bits of the results."
[ -z "${PYTHON:-}" ] || "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null ||
    die "PYTHON=$PYTHON is not a Python 3.12 that runs; leave it out, or name another."

# uv does not read pip's settings, and whoever needs a mirror may have told only pip.
[ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] ||
    UV_DEFAULT_INDEX=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null)} || true
[ -z "${UV_DEFAULT_INDEX:-}" ] || export UV_DEFAULT_INDEX

# .complete is written last: without it .venv is anything, and only building it anew makes it whole.
uv=.venv/bin/uv
if ! { [ -e .venv/.complete ] && .venv/bin/python -c '' && "$uv" --version; } >/dev/null 2>&1; then
    uv=uv
    uv --version >/dev/null 2>&1 || install_uv
    say "building .venv (10 GB); the first download takes minutes"
    rm -rf .venv
    "$uv" venv --python "${PYTHON:-3.12}" .venv ||
        die "there is no Python 3.12 here, and uv could not fetch one; install it, then try again," \
            "or name yours: 'make setup PYTHON=/path/to/python3.12'."
fi

# That Python loads them is the test: a user may have no ldconfig on the PATH, or have them from conda.
.venv/bin/python -c 'import ctypes; [ctypes.CDLL(name) for name in ("libGL.so.1", "libOpenGL.so.0")]' 2>/dev/null ||
    bring "the system libraries libGL.so.1 and libOpenGL.so.0, which PhysX loads" libgl1 libopengl0 libglx0

rm -f .venv/.complete
"$uv" pip sync --python .venv/bin/python --require-hashes requirements.txt requirements-dev.txt
touch .venv/.complete

# The first start of a stage compiles 2,700 modules. Once done here, it holds under PYTHONDONTWRITEBYTECODE too.
# (uv's --compile-bytecode compiles all 27,000: a minute more with 2 cores.)
.venv/bin/python -m stages.check >/dev/null 2>&1 || true
