"""`make setup`: which Python it takes, when it builds `.venv`, and what it asks uv for.

`tools/setup.sh` runs with programs that only write down what they are asked, instead of installing 8 GB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.unit

# A Python of another version, as far as setup.sh asks it: which it is, and to make a venv whose pip "installs" uv.
PYTHON = """#!/bin/bash
case "$*" in
    "-c import os, sys"*) "REAL" -c "import sys; sys.version_info, sys.executable = (VERSION, 1), '$0'; $2" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install"*) cp "${@: -1}" "$HOME/given to pip" && cp "$HOME/uv" "${0%/*}/uv" ;;
    *) exit 1 ;;
esac
"""
UV = """#!/bin/bash
[ "$*" = --version ] && exit
echo "${0##*/} $*" >>"$HOME/asked"
echo "$UV_DEFAULT_INDEX" >"$HOME/index"
case "$1 $2" in
    "python find") cat "$HOME/found" 2>/dev/null ;;
    "python install") echo "$HOME/fetched" >"$HOME/found" ;;
    "venv --quiet") mkdir -p .venv/bin && cp "$0" .venv/bin/uv && cp "$HOME/python 3.12" .venv/bin/python ;;
    "pip install") [ ! -e "$HOME/no network" ] ;;
esac
"""
FAILS = "#!/bin/bash\nexit 127\n"  # as a shim of pyenv does for a version that is not active
INSTALL = "uv pip install --python .venv/bin/python --require-hashes -r requirements.txt -r requirements-dev.txt"


class Machine:
    """A copy of the Makefile and setup.sh, with an own home and own programs."""

    def __init__(self, folder: Path) -> None:
        self.home, self.programs, self.clone = (folder / name for name in ("home", "programs", "a clone"))
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "tools/setup.sh"):
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.clone / name)
        self.complete = self.clone / ".venv" / ".complete"
        self.home.mkdir()
        self.programs.mkdir()
        self.python(self.home / "python 3.12", "3.12")
        self.python(self.home / "fetched", "3.12")
        program(self.home / "uv", UV)
        program(self.programs / "uv", UV)
        self.python(self.programs / "python3.12", "3.12")
        for name in ("python3", "pyenv"):  # hide the real ones
            program(self.programs / name, FAILS)

    def python(self, path: Path, version: str) -> Path:
        """Put a Python of ``version`` at ``path``."""
        return program(path, PYTHON.replace("REAL", sys.executable).replace("VERSION", version.replace(".", ", ")))

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `make setup`."""
        environment |= {"HOME": str(self.home), "PATH": f"{self.programs}{os.pathsep}/usr/bin{os.pathsep}/bin"}
        command = ["make", "--silent", "setup", *words]
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def asked(self) -> list[str]:
        """What uv was asked since the last time."""
        log = self.home / "asked"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


def program(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_passes_over_a_shim_that_fails_and_another_version(machine: Machine):
    program(machine.programs / "python3.12", FAILS)
    machine.python(machine.programs / "python3", "3.11")
    mine = machine.python(machine.home / ".pyenv" / "versions" / "3.12.1" / "bin" / "python", "3.12")
    assert machine.make().returncode == 0
    assert machine.asked() == [f"uv venv --quiet --python {mine} .venv", INSTALL]
    assert machine.complete.exists()


def test_it_takes_the_first_python_3_12_on_the_path(machine: Machine):
    program(machine.programs / "python3.12", FAILS)
    mine = machine.python(machine.programs / "python3", "3.12")
    machine.python(machine.home / ".pyenv" / "versions" / "3.12.1" / "bin" / "python", "3.12")
    machine.make()
    assert machine.asked()[0] == f"uv venv --quiet --python {mine} .venv"


def test_where_there_is_no_python_3_12_uv_fetches_one(machine: Machine):
    program(machine.programs / "python3.12", FAILS)
    result = machine.make()
    assert "setup: no Python 3.12 here, uv fetches one\n" in result.stderr
    assert machine.asked()[1:4] == [
        "uv python install 3.12",
        "uv python find --system 3.12",
        f"uv venv --quiet --python {machine.home / 'fetched'} .venv",
    ]
    assert machine.complete.exists()


def test_if_no_python_3_12_can_be_had_a_sentence_says_how_to_get_one(machine: Machine):
    program(machine.programs / "python3.12", FAILS)
    (machine.home / "fetched").unlink()
    result = machine.make()
    assert result.returncode == 2
    assert "make setup PYTHON=/path/to/python3.12" in result.stderr
    assert not (machine.clone / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11", "3.13", None])
def test_a_named_python_that_is_not_3_12_is_refused_and_no_other_is_taken(machine: Machine, version: str | None):
    mine = machine.home / "mine"
    if version:
        machine.python(mine, version)
    result = machine.make(f"PYTHON={mine}")
    assert result.returncode == 2
    assert f"setup: PYTHON={mine} is not a Python 3.12 that runs.\n" in result.stderr
    assert not machine.asked()


def test_a_named_python_3_12_is_taken_also_from_a_path_with_blanks(machine: Machine):
    machine.make(f"PYTHON={machine.home / 'python 3.12'}")
    assert machine.asked()[0] == f"uv venv --quiet --python {machine.home / 'python 3.12'} .venv"


def test_without_uv_the_locked_one_is_installed_first_by_its_hashes(machine: Machine):
    program(machine.programs / "uv", FAILS)
    assert machine.make().returncode == 0
    assert machine.asked()[-1] == INSTALL
    pinned, *hashes = (machine.home / "given to pip").read_text().splitlines()
    assert pinned.startswith("uv==")
    assert len(hashes) > 1
    assert all(line.startswith("    --hash=sha256:") for line in hashes)


def test_the_package_index_of_pips_settings_is_uvs_too_unless_uv_has_its_own(machine: Machine):
    machine.make(PIP_INDEX_URL="https://pip.localhost")
    assert (machine.home / "index").read_text() == "https://pip.localhost\n"
    machine.complete.unlink()
    machine.make(PIP_INDEX_URL="https://pip.localhost", UV_DEFAULT_INDEX="https://uv.localhost")
    assert (machine.home / "index").read_text() == "https://uv.localhost\n"


def test_an_unfinished_environment_is_built_anew(machine: Machine):
    machine.make()
    machine.complete.unlink()
    left = machine.clone / ".venv" / "half a package"
    left.touch()
    machine.make()
    assert not left.exists()
    assert machine.complete.exists()


def test_an_installation_that_failed_is_not_taken_for_finished(machine: Machine):
    (machine.home / "no network").touch()
    assert machine.make().returncode == 2
    assert not machine.complete.exists()
    (machine.home / "no network").unlink()
    assert machine.make().returncode == 0
    assert machine.complete.exists()


@pytest.mark.parametrize("pins", ["requirements.txt", "requirements-dev.txt"])
def test_a_finished_environment_is_left_alone_and_only_brought_up_to_newer_pins(machine: Machine, pins: str):
    machine.make()
    machine.asked()
    mine = machine.clone / ".venv" / "mine"
    mine.touch()
    machine.make()
    assert machine.asked() == []
    finished = machine.complete.stat().st_mtime
    os.utime(machine.clone / pins, (finished + 1, finished + 1))
    machine.make()
    assert machine.asked() == [INSTALL]
    assert mine.exists()
    assert machine.complete.exists()


def test_a_finished_environment_whose_python_has_been_removed_is_built_anew(machine: Machine):
    machine.make()
    machine.asked()
    (machine.clone / ".venv" / "bin" / "python").unlink()
    os.utime(machine.complete, (0, 0))  # older than the pins, so that make looks at all
    machine.make()
    assert machine.asked()[0].startswith("uv venv ")
    assert (machine.clone / ".venv" / "bin" / "python").exists()
