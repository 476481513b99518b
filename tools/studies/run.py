"""One run of a study, as a program of its own: an experiment of DVC, made in a clone that is removed afterwards.

The clone shares with the repository, on this machine, what a run needs or leaves there: DVC's cache, the logs, and the
checkpoints of trainings that were stopped.
"""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.experiment.files import write_atomically
from pipeline.experiment.interruption import end_with_parent
from pipeline.experiment.paths import CHECKED, LOGS, RESUME

CLONES = Path(".dvc/tmp/studies")  # which neither Git nor DVC looks into
LINES = 20  # of a log, to tell why a run failed


def main() -> None:
    """Make the experiment ``name`` of ``commit`` with ``overrides``, and push it to the Git repository ``origin``.

    Exits with 1 and the last lines of the log if it fails.
    """
    name, commit, origin, *overrides = sys.argv[1:]
    _end_with_parent()
    root = Path.cwd()
    folder, log = root / CLONES / name, root / LOGS / f"{name}.log"
    shutil.rmtree(folder, ignore_errors=True)
    log.parent.mkdir(exist_ok=True)
    try:
        with log.open("w") as file:
            run(folder, name, commit, origin, overrides, file.fileno())
    except subprocess.CalledProcessError:
        sys.exit("\n".join([f"the end of {log}:", *log.read_text(errors="replace").splitlines()[-LINES:]]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_clones(study: str) -> None:
    """Remove the clones that runs of a study have left, which were killed."""
    for folder in CLONES.glob(f"{study}-[0-9][0-9][0-9][0-9]-s*"):
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, name: str, commit: str, origin: str, overrides: list[str], log: int) -> None:
    """Clone this repository into ``folder``, make the experiment there, and push it: its data first, if they must be.

    Raises:
        subprocess.CalledProcessError: If a command fails.
    """

    def call(*command: str, where: Path = folder) -> None:
        subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)

    prefix = _output("git", "rev-parse", "--show-prefix")
    top = _output("git", "rev-parse", "--show-toplevel")
    call("git", "clone", "--quiet", "--shared", "--no-checkout", top, str(folder), where=Path.cwd())
    elsewhere = origin != top
    if elsewhere:  # the driver of the study is on another machine
        call("git", "remote", "set-url", "origin", origin)
        call("git", "fetch", "--quiet", "origin")
    call("git", "checkout", "--quiet", "--detach", commit)
    project = folder / prefix
    _share(project)
    dvc = (sys.executable, "-m", "dvc")
    if tracked := _output("git", "ls-files", "*.dvc", where=project).splitlines():
        call(*dvc, "pull", "--quiet", *tracked, where=project)
    settings = [argument for override in overrides for argument in ("--set-param", override)]
    known = folder.parent / CHECKED.name  # what has started before, which the check need not start again
    if known.exists():
        shutil.copyfile(known, project / CHECKED)
    call(*dvc, "exp", "run", "--name", name, *settings, "evaluate", where=project)
    write_atomically(known, (project / CHECKED).read_bytes())
    if elsewhere:
        call(*dvc, "push", "--with-deps", "evaluate", where=project)  # what the run made, and no more
    (ref,) = _output("git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}", where=folder).split()
    call("git", "push", "--quiet", "--force", "origin", f"{ref}:{ref}")


def _share(project: Path) -> None:
    """Let ``project`` use what this machine has: DVC's settings and cache, logs, and checkpoints."""
    for name in (LOGS, RESUME):
        Path(name).mkdir(exist_ok=True)
        (project / name).symlink_to(Path(name).absolute())
    config = configparser.ConfigParser(interpolation=None)
    config.read(".dvc/config.local")
    here = {"cache": {"dir": str(Path(".dvc/cache").absolute())}, "core": {"site_cache_dir": str(project / ".dvc/tmp")}}
    for section, values in here.items():
        config.read_dict({section: {**values, **(config[section] if config.has_section(section) else {})}})
    with (project / ".dvc/config.local").open("w") as file:
        config.write(file)


def _output(*command: str, where: Path | None = None) -> str:
    return subprocess.run(command, cwd=where, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _end_with_parent() -> None:
    """End with all that this process has started, which is in its group, when the study ends, however it does."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.killpg(0, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    end_with_parent()


if __name__ == "__main__":
    main()
