"""Tell how policies do in physics that they have not seen: ``make robustness``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.experiment.files import read_json, write_json
from pipeline.experiment.params import Params
from pipeline.experiment.paths import LOGS
from pipeline.experiment.stage import process
from tools.evaluate import find_policies, load_policies
from tools.perturbations.factors import FACTORS, NOMINAL
from tools.perturbations.picture import draw
from tools.perturbations.playing import Result

ENGINES = ("physx", "newton_mjwarp")
FOLDER = Path(LOGS) / "robustness"


def main() -> None:
    """Print a table, and write a JSON file a policy and a picture of all; exits with a sentence for what cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", nargs="+", type=Path, help="folder with a policy, or with folders of policies")
    given = parser.parse_args().policy
    with process("robustness", "stopped; nothing was written") as params:
        folders = [policy for folder in given for policy in find_policies(folder)]
        digests = [policy.sha256 for policy in load_policies(folders, params.sim.task).values()]
        FOLDER.mkdir(parents=True, exist_ok=True)
        engines = [play(engine, folders) for engine in ENGINES]  # a simulator a process
        results = {
            str(folder): [result for engine in engines for result in engine[number]]
            for number, folder in enumerate(folders)
        }
    files = write(params, results, digests)
    print(f"{table(results)}\n\nwritten: {', '.join(map(str, files))}")


def play(engine: str, folders: list[Path]) -> list[list[Result]]:
    """Play the policies on an engine, in a process of its own, which says itself what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "results.json"
        command = [sys.executable, "-m", "tools.perturbations.playing", engine, str(target), *map(str, folders)]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)
        return read_json(target)["policies"]


def write(params: Params, results: dict[str, list[Result]], digests: list[str]) -> list[Path]:
    """Write each policy's results by its digest, the same bytes in every run, and the picture of all."""
    names = [digest[:12] for digest in digests]
    for name, digest, rows in zip(names, digests, results.values(), strict=True):
        content = {"policy_sha256": digest, "task": params.sim.task, "seed": params.evaluate.seed}
        write_json(FOLDER / f"{name}.json", content | {"results": sorted(rows, key=_place)})
    picture = FOLDER / f"{'-'.join(names)}.png"
    draw(results, picture)
    return [*(FOLDER / f"{name}.json" for name in names), picture]


def _place(result: Result) -> tuple[str, str, float]:
    return result["engine"], result["factor"], result["value"]


def table(results: dict[str, list[Result]]) -> str:
    """Lay out the success rate and, in brackets, the mean return, a line for each factor and policy on an engine."""
    lines: list[str] = []
    for folder, rows in results.items():
        for engine in ENGINES:
            lines += ["", f"{folder} on {engine}: value: success rate (mean return)"]
            lines += [_line(name, engine, rows) for name in (NOMINAL, *FACTORS)]
    return "\n".join(lines)


def _line(name: str, engine: str, rows: list[Result]) -> str:
    own: list[dict[str, Any]] = [row for row in rows if (row["engine"], row["factor"]) == (engine, name)]
    cells = [
        f"{'' if name == NOMINAL else row['value']:>5}: {row['success_rate']:>4.0%} ({row['return_mean']:>6.2f})"
        for row in own
    ]
    return f"  {name:<40}{'  '.join(cells)}"


if __name__ == "__main__":
    main()
