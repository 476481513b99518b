"""Stop the pipeline in any way at any moment, again and again, and compare with one left alone: `make crash-test`."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import Project, copy_project
from tests.faults import LONG, go_on, stop_at_random

STAGES = ("train", "train", "train", "evaluate", "render")  # how often each is stopped


def main() -> None:
    """Exit with 1 unless every pipeline that was stopped wrote the dvc.lock of the one that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--physics", default="physx", help="as sim.physics")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder) / "clone", {**LONG, "sim": {"physics": options.physics}})
        project.run("dvc", "repro")
        expected = lock(project)
        stopped = wrong = mended = 0
        while stopped < options.stops:
            start_over(project)
            while stop_at_random(project, chance.choice(STAGES), chance):
                stopped += 1
            mended += go_on(project)
            equal = lock(project) == expected
            wrong += not equal
            print(f"{stopped} stops; {'the same' if equal else 'ANOTHER'} dvc.lock", flush=True)
    print(f"{stopped} stops; {wrong} pipelines ended otherwise; {mended} times dvc.lock had to be mended")
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
