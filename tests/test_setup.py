"""`make setup`: which Python it takes, which system libraries it brings, and what it asks uv for.

`tools/setup.sh` runs with programs that only write down what they are asked, instead of installing 8 GB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.experiment.preflight import LIBRARIES
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

# All that `make setup` may need of a bare machine; the rest it must find or bring.
BARE = "awk bash cat cp dirname env grep id make mkdir mktemp rm sh touch true uname"
PYTHON = """#!/bin/bash
case "$*" in
    "-c "*version_info*) [ VERSION = 3.12 ] ;;
    "-c import ctypes"*libGL.so.1*libOpenGL.so.0*) [ ! -e "$HOME/no libraries" ] ;;
    "-c import ensurepip") [ ! -e "$HOME/no pip" ] ;;
    "-c ") ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m stages.check") echo "writes ${PYTHONDONTWRITEBYTECODE:-bytecode}" >"$HOME/started" && exit 1 ;;
    "-m pip install"*) cp "${@: -1}" "$HOME/given to pip" && cp "$HOME/uv" "${0%/*}/uv" ;;
    *) exit 1 ;;
esac
"""
UV = """#!/bin/bash
[ "$*" = --version ] && exit
echo "${0##*/} $*" >>"$HOME/asked"
echo "$UV_DEFAULT_INDEX" >"$HOME/index"
[ ! -e "$HOME/no network" ] || exit 1
[ "$1" != venv ] || { mkdir -p .venv/bin && cp "$0" .venv/bin/uv && cp "$HOME/python 3.12" .venv/bin/python; }
"""
APT = """#!/bin/bash
[ "$*" = --version ] && exit
echo "apt-get $*" >>"$HOME/asked"
[ "$1" = update ] && exit
[ ! -e "$HOME/no network" ] && rm -f "$HOME/no libraries" "$HOME/no pip" && cp "$HOME/python 3.12" "${0%/*}/python3"
"""
SUDO = """#!/bin/bash
[ -e "$HOME/no password" ] && [ "$1" = -n ] && shift && { [ "$1" = true ] || echo sudo >>"$HOME/asked"; } && exec "$@"
"""
FAILS = "#!/bin/bash\nexit 127\n"  # as a shim of pyenv does for a version that is not active
VENV = "uv venv --python 3.12 .venv"
SYNC = "uv pip sync --python .venv/bin/python --require-hashes requirements.txt requirements-dev.txt"
LIBRARIES_BY_APT = [
    "apt-get update -qq",
    "apt-get install -qq --no-install-recommends -o DPkg::Lock::Timeout=300 libgl1 libopengl0 libglx0",
]


class Machine:
    """A copy of the Makefile and setup.sh, with an own home and own programs: those of a bare machine, uv, and apt-get.

    The user is an ordinary one, and the system libraries are there.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.programs, self.clone = (folder / name for name in ("home", "programs", "a clone"))
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "tools/setup.sh"):
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.clone / name)
        self.complete = self.clone / ".venv" / ".complete"
        self.home.mkdir()
        self.programs.mkdir()
        for name in BARE.split():
            (self.programs / name).symlink_to(str(shutil.which(name)))
        self.is_user(1000)
        self.python(self.home / "python 3.12")
        program(self.home / "uv", UV)
        program(self.programs / "uv", UV)
        program(self.programs / "apt-get", APT)
        program(self.programs / "sudo", SUDO)

    def is_user(self, number: int) -> None:
        """Be run by the user of this number, 0 for root."""
        self.lacks("id")
        program(self.programs / "id", f"#!/bin/bash\necho {number}\n")

    def lacks(self, *programs: str) -> None:
        """Have no such programs."""
        for name in programs:
            (self.programs / name).unlink()

    def remember(self, what: str) -> None:
        """Let the programs see that ``what`` is so, as "no network"."""
        (self.home / what).touch()

    def python(self, path: Path, version: str = "3.12") -> Path:
        """Put a Python of ``version`` at ``path``."""
        return program(path, PYTHON.replace("VERSION", version))

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `make setup`."""
        environment |= {"HOME": str(self.home), "PATH": str(self.programs)}
        command = [str(shutil.which("make")), "--silent", "setup", *words]
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def sentence(self, *words: str) -> str:
        """What `make setup` stops with."""
        result = self.make(*words)
        assert result.returncode == 2
        *_, sentence, failure = result.stderr.splitlines()
        assert failure.startswith("make: ***")
        return sentence

    def asked(self) -> list[str]:
        """What the programs were asked since the last time."""
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


@pytest.mark.parametrize("taken", ["programs/python3", "home/.pyenv/versions/3.12.1/bin/python3.12"])
def test_it_passes_over_a_shim_that_fails_and_finds_the_next_python_3_12(machine: Machine, taken: str):
    real = f'[ "$1" = venv ] && exec "{Path(sys.executable).parent / "uv"}" "$@"\n'
    program(machine.programs / "uv", UV.replace("[ ! -e", f"{real}[ ! -e"))
    program(machine.programs / "python3.12", FAILS)
    path = machine.home.parent / taken
    base = Path(sys.base_prefix) / "bin" / "python3.12"
    program(path, f'#!/bin/bash\necho "$0" >"$HOME/taken"\nexec "{base}" "$@"\n')
    assert machine.make().returncode == 0
    assert (machine.home / "taken").read_text() == f"{path}\n"
    assert (machine.clone / ".venv" / "bin" / "python").resolve() == base.resolve()


def test_uv_builds_the_environment_with_what_is_locked(machine: Machine):
    assert machine.make().returncode == 0
    assert machine.asked() == [VENV, SYNC]
    assert machine.complete.exists()


def test_the_set_up_starts_a_stage_once_to_write_bytecode_and_does_not_mind_what_it_says(machine: Machine):
    assert machine.make(PYTHONDONTWRITEBYTECODE="nothing").returncode == 0
    assert (machine.home / "started").read_text() == "writes bytecode\n"


def test_if_no_python_3_12_can_be_had_a_sentence_says_how_to_get_one(machine: Machine):
    machine.remember("no network")
    assert machine.sentence().endswith("or name yours: 'make setup PYTHON=/path/to/python3.12'.")
    assert machine.asked() == [VENV]


@pytest.mark.parametrize("version", ["3.11", "3.13", None])
def test_a_named_python_that_is_not_3_12_is_refused_and_no_other_is_taken(machine: Machine, version: str | None):
    mine = machine.home / "mine"
    if version:
        machine.python(mine, version)
    assert machine.sentence(f"PYTHON={mine}").startswith(f"setup: PYTHON={mine} is not a Python 3.12 that runs; ")
    assert not machine.asked()


def test_a_named_python_3_12_is_taken_also_from_a_path_with_blanks(machine: Machine):
    machine.make(f"PYTHON={machine.home / 'python 3.12'}")
    assert machine.asked() == [f"uv venv --python {machine.home / 'python 3.12'} .venv", SYNC]


def test_another_machine_than_linux_on_x86_64_is_refused(machine: Machine):
    machine.lacks("uname")
    program(machine.programs / "uname", "#!/bin/bash\necho Linux aarch64\n")
    assert machine.sentence().startswith("setup: Linux aarch64 is not supported, ")
    assert not machine.asked()


@pytest.mark.parametrize("name", ["programs/python3.12", "programs/python3", "home/.pyenv/versions/3.12.1/bin/python3"])
def test_without_uv_the_locked_one_is_installed_first_by_its_hashes(machine: Machine, name: str):
    machine.lacks("uv")
    machine.python(machine.home.parent / name)
    assert machine.make().returncode == 0
    assert machine.asked() == [VENV, SYNC]
    pinned, *hashes = (machine.home / "given to pip").read_text().splitlines()
    assert pinned.startswith("uv==")
    assert len(hashes) > 1
    assert all(line.startswith("    --hash=sha256:") for line in hashes)


def test_without_uv_a_named_python_installs_it(machine: Machine):
    machine.lacks("uv")
    assert machine.make(f"PYTHON={machine.home / 'python 3.12'}").returncode == 0
    assert (machine.home / "given to pip").exists()


@pytest.mark.parametrize("python", [True, False])
def test_without_uv_and_pip_root_gets_python_by_apt(machine: Machine, python: bool):
    machine.lacks("uv")
    machine.is_user(0)
    if python:
        machine.python(machine.programs / "python3")
        machine.remember("no pip")
    assert machine.make().returncode == 0
    *_, apt, venv, sync = machine.asked()
    assert apt.startswith("apt-get install ")
    assert apt.endswith(" python3-venv")
    assert [venv, sync] == [VENV, SYNC]


def test_without_uv_and_pip_an_ordinary_user_is_told_what_to_type(machine: Machine):
    machine.lacks("uv")
    assert machine.sentence() == (
        "setup: install uv, or a Python that has pip: type 'sudo apt-get install python3-venv', then try again."
    )
    machine.lacks("apt-get")
    assert machine.sentence() == "setup: install uv, or a Python that has pip, then try again."


def test_system_libraries_that_are_there_are_not_installed(machine: Machine):
    machine.is_user(0)
    machine.make()
    assert machine.asked() == [VENV, SYNC]


def test_root_gets_the_system_libraries_by_apt(machine: Machine):
    machine.is_user(0)
    machine.remember("no libraries")
    assert machine.make().returncode == 0
    assert machine.asked() == [VENV, *LIBRARIES_BY_APT, SYNC]


def test_who_may_use_sudo_without_a_password_gets_the_system_libraries_too(machine: Machine):
    machine.remember("no libraries")
    machine.remember("no password")
    assert machine.make().returncode == 0
    assert machine.asked() == [VENV, "sudo", *LIBRARIES_BY_APT, SYNC]


@pytest.mark.parametrize("sudo", [True, False])
def test_who_may_not_is_told_what_to_type_before_anything_is_downloaded(machine: Machine, sudo: bool):
    machine.remember("no libraries")
    if not sudo:
        machine.lacks("sudo")
    assert machine.sentence() == (
        f"setup: install the system libraries {' and '.join(LIBRARIES)}, which PhysX loads: "
        "type 'sudo apt-get install libgl1 libopengl0 libglx0', then try again."
    )
    assert machine.asked() == [VENV]
    assert not machine.complete.exists()


def test_where_there_is_no_apt_the_missing_system_libraries_are_named(machine: Machine):
    machine.is_user(0)
    machine.remember("no libraries")
    machine.lacks("apt-get")
    assert machine.sentence() == (
        f"setup: install the system libraries {' and '.join(LIBRARIES)}, which PhysX loads, then try again."
    )
    assert machine.asked() == [VENV]


def test_system_libraries_that_apt_cannot_install_stop_the_set_up(machine: Machine):
    machine.is_user(0)
    machine.remember("no libraries")
    (machine.programs / "apt-get").write_text(APT.replace("[ ! -e", "[ -e"))
    assert machine.sentence() == "setup: apt-get could not install libgl1 libopengl0 libglx0, as it says above."
    assert machine.asked() == [VENV, *LIBRARIES_BY_APT]


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
    machine.remember("no network")
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
    assert machine.asked() == [SYNC]
    assert mine.exists()
    assert machine.complete.exists()


def test_a_finished_environment_whose_python_has_been_removed_is_built_anew(machine: Machine):
    machine.make()
    machine.asked()
    (machine.clone / ".venv" / "bin" / "python").unlink()
    os.utime(machine.complete, (0, 0))  # older than the pins, so that make looks at all
    machine.make()
    assert machine.asked() == [VENV, SYNC]
    assert (machine.clone / ".venv" / "bin" / "python").exists()
