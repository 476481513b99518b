"""Tell how policies do in physics that they have not seen: ``make robustness``."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import read_json, write_json
from pipeline.experiment.params import Params
from pipeline.experiment.stage import process
from tools.evaluate import find_policies, load_policies
from tools.perturbations.factors import FACTORS, NOMINAL
from tools.perturbations.picture import draw
from tools.perturbations.playing import ENGINES, FOLDER, Result


def main() -> None:
    """Print a table, and write a JSON file a policy and a picture of all; exits with a sentence for what cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", nargs="+", help="folder with a policy, or with folders of policies")
    parser.add_argument("--runs", action="store_true", help="not folders, but commits, tags, experiments or studies")
    given = parser.parse_args()
    with process("robustness", "stopped; nothing was written") as params, tempfile.TemporaryDirectory() as brought:
        found = bring(given.policy, Path(brought)) if given.runs else find(given.policy)
        folders = [policy for policies in found.values() for policy in policies]
        digests = [policy.sha256 for policy in load_policies(folders, params.sim.task).values()]
        engines = play(folders)
    results = [[row for engine in engines for row in engine[number]] for number in range(len(folders))]
    files = write(params, results, digests)
    of = dict(zip(folders, results, strict=True))
    shown = {_name(name, policies): mean([of[policy] for policy in policies]) for name, policies in found.items()}
    draw(shown, FOLDER / "success.png")
    print(f"{table(shown)}\n\nwritten: {', '.join(map(str, files))}, {FOLDER}/success.png")


def find(folders: list[str]) -> dict[str, list[Path]]:
    """Find the policies in each folder."""
    return {folder: find_policies(Path(folder)) for folder in folders}


def bring(words: list[str], target: Path) -> dict[str, list[Path]]:
    """Bring the policies of runs into folders in ``target``, in groups that differ in the seed alone."""
    from tools.comparison.anew import bring_policy
    from tools.comparison.runs import in_groups, load_runs

    groups = enumerate(in_groups(load_runs(words)).items())
    return {
        name: [bring_policy(run, target / str(number) / run.name) for run in runs] for number, (name, runs) in groups
    }


def play(folders: list[Path]) -> list[list[list[Result]]]:
    """Play the policies on all engines at once, each in a process of its own; returns ``[engines][policies][groups]``.

    Raises:
        UserError: What an engine refuses.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        targets = [Path(folder) / f"{engine}.json" for engine in ENGINES]
        started = []
        for name, target in zip(ENGINES, targets, strict=True):
            command = [sys.executable, "-m", "tools.perturbations.playing", name, str(target), *map(str, folders)]
            # Ctrl-C is for this process, which ends the others. The bars of their rounds are enough.
            quiet = os.environ | {"TQDM_DISABLE": "1"}
            started.append(subprocess.Popen(command, env=quiet, start_new_session=True))
            ends.callback(started[-1].kill)
        for engine in started:
            if code := engine.wait():
                sys.exit(code)
        contents = [read_json(target) for target in targets]
    if refused := next((content["refused"] for content in contents if "refused" in content), None):
        raise UserError(refused)
    return [content["policies"] for content in contents]


def write(params: Params, results: list[list[Result]], digests: list[str]) -> list[Path]:
    """Write each policy's results by its digest, the same bytes in every run."""
    files = [FOLDER / f"{digest[:12]}.json" for digest in digests]
    for file, digest, rows in zip(files, digests, results, strict=True):
        content = {"policy_sha256": digest, "task": params.sim.task, "seed": params.evaluate.seed}
        write_json(file, content | {"results": sorted(rows, key=_place)})
    return files


def _place(result: Result) -> tuple[str, str, float]:
    return result["engine"], result["factor"], result["value"]


def _name(name: str, policies: list[Path]) -> str:
    return name if len(policies) == 1 else f"{name}, mean of {len(policies)}"


def mean(results: list[list[Result]]) -> list[Result]:
    """Average the results of several policies, such as those of several seeds, group by group."""
    return [
        rows[0] | {name: sum(row[name] for row in rows) / len(rows) for name in ("success_rate", "return_mean")}
        for rows in zip(*results, strict=True)
    ]


def table(results: dict[str, list[Result]]) -> str:
    """Lay out the success rate and, in brackets, the mean return, a line for each factor and policy on an engine."""
    lines: list[str] = []
    for folder, rows in results.items():
        for engine in ENGINES:
            lines += [
                "",
                f"{folder} on {engine}, {rows[0]['episodes']} episodes: value: success rate (mean return)",
            ]
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
