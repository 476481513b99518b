"""Runs that were evaluated in different environments, evaluated anew in one: that of this folder's params."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.experiment.errors import UserError, one_line
from pipeline.experiment.paths import MODELS, POLICY_FILES
from tools.comparison.conditions import refuse_stale_training
from tools.comparison.runs import Run

NO_METRICS = ("policy", "timesteps", "policy_sha256")  # columns of the table


def evaluate_anew(runs: list[Run]) -> list[Run]:
    """Evaluate the policies of all runs with ``evaluate``, ``sim`` and ``env`` of params.yaml; returns runs with these.

    Raises:
        UserError: If a run has no policy, or one that nobody can bring.
    """
    with tempfile.TemporaryDirectory() as name:
        folders = [bring_policy(run, Path(name) / str(number) / run.name) for number, run in enumerate(runs)]
        table = Path(name) / "evaluation"
        command = [sys.executable, "-m", "tools.evaluate", "--to", table, *folders]  # a simulator sets up its process
        if code := subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(code)
        with (table / "evaluation.csv").open(newline="") as file:
            rows = {row["policy"]: row for row in csv.DictReader(file)}
    metrics = [
        {name: float(value) for name, value in rows[str(folder)].items() if name not in NO_METRICS}
        for folder in folders
    ]
    return [dataclasses.replace(run, metrics=own, evaluated_anew=True) for run, own in zip(runs, metrics, strict=True)]


def bring_policy(run: Run, folder: Path) -> Path:
    """Bring a run's policy from DVC's cache, or its remote, into ``folder``.

    Raises:
        UserError: If it has none, neither has it, or it was trained with other params than the run's.
    """
    if not run.revision:
        raise UserError(f"RUNS: {run.name} is of a CSV, which has no policy to evaluate")
    refuse_stale_training(run)
    folder.mkdir(parents=True)
    try:
        files = DVCFileSystem(".", rev=run.revision)
        for name in POLICY_FILES:
            files.get_file(str(MODELS / name), str(folder / name))
    except (DvcException, OSError) as error:
        raise UserError(f"RUNS: the policy of {run.name} cannot be brought: {one_line(error)}") from None
    return folder
