"""Kill the pipeline at random moments, again and again, and compare with one that nobody stopped: `make torture`."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import Project, copy_project
from tests.kills import LONG, run_and_kill


def main() -> None:
    """Exit with 1 unless every pipeline that was killed wrote the dvc.lock of the one that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder) / "clone", LONG)
        project.run("dvc", "repro")
        expected = lock(project)
        killed = wrong = 0
        while killed < options.kills:
            start_over(project)
            for stage in ("train", "train", "train", "evaluate", "render"):
                killed += 1
                print(f"{killed}: {run_and_kill(project, ('dvc', 'repro'), stage, chance)}", flush=True)
            project.run("dvc", "repro")
            equal = lock(project) == expected
            wrong += not equal
            print("the same dvc.lock" if equal else "ANOTHER dvc.lock", flush=True)
    print(f"{killed} kills; {wrong} pipelines ended otherwise than the one that nobody stopped")
    sys.exit(wrong > 0)


def lock(project: Project) -> str:
    return (project.folder / "dvc.lock").read_text()


def start_over(project: Project) -> None:
    """Delete the results and what DVC remembers of them."""
    (project.folder / "dvc.lock").unlink()
    for folder in ("models", "videos", "metrics", ".dvc/cache"):
        shutil.rmtree(project.folder / folder, ignore_errors=True)
    project.run("git", "checkout", "--quiet", "--", ".")


if __name__ == "__main__":
    main()
