"""Say which outputs moved since the last commit, and add the results to the next: the last words of ``make record``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from dvc.dvcfile import LOCK_FILE

from pipeline.experiment.records import recorded_outputs
from tools.revisions import file_at

RESULTS = (LOCK_FILE, "metrics", "models", "videos")  # of models/ and videos/, Git keeps their .gitignore alone


def main() -> None:
    """Add nothing to the commit if an output moved, unless ``--moved`` says that it was meant to."""
    parser = argparse.ArgumentParser(prog="make record", description=__doc__)
    parser.add_argument("--moved", action="store_true", help="outputs are meant to move: add them too")
    meant = parser.parse_args().moved
    moved = moved_outputs(file_at("HEAD", LOCK_FILE), Path(LOCK_FILE).read_text())
    print("\n".join(moved) or "no output has moved")
    if moved and not meant:
        sys.exit("record: nothing is added to the commit; if the outputs are meant to move, `make record ARGS=--moved`")
    subprocess.run(["git", "add", "--", *filter(_exists, RESULTS)], check=True)
    print("added to the commit at hand; `git status` shows the whole of it")


def moved_outputs(before: str, after: str) -> list[str]:
    """Compare the outputs in two texts of a dvc.lock.

    Returns:
        A line for each output that has other bytes, is new or is gone. An output may change its stage.
    """
    old, new = _outputs(before), _outputs(after)
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return [f"{'new' if path not in old else 'moved' if path in new else 'gone':5}  {path}" for path in changed]


def _outputs(lock: str) -> dict[str, str]:
    return {path: md5 for outputs in recorded_outputs(lock).values() for path, md5 in outputs.items()}


def _exists(path: str) -> bool:
    return Path(path).exists()


if __name__ == "__main__":
    main()
