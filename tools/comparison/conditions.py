"""What must hold of runs before they are compared: results of their own params, evaluated alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import flat, parse_sections
from pipeline.experiment.paths import EVALUATION, PARAMS_FILE
from tools.comparison.runs import Run, differing
from tools.verification.recorded import up_to_date

TASK = "sim.project", "sim.task"
CONDITIONS = ("evaluate", *TASK, "sim.physics", "env")  # params that two evaluations must share
CODE = "pipeline/evaluation"  # what counts as a success, and how episodes are summed up
ANEW = "ARGS=--evaluate evaluates the policies of all anew, as params.yaml says"


def conditions(params: Mapping[str, Any]) -> dict[str, Any]:
    """List what an evaluation depends on, but for the policy and the code."""
    return {name: value for name, value in params.items() if name.startswith(CONDITIONS)}


def refuse_incomparable(runs: list[Run]) -> None:
    """Refuse runs with results of other params, or evaluated with other episodes, starts, task, physics or code.

    How the runs of a CSV were evaluated, nobody knows.

    Raises:
        UserError: Naming the first param or file that differs.
    """
    of_git = [run for run in runs if run.revision]
    for run in of_git:
        _refuse_stale_evaluation(run)
        first = of_git[0]
        for name in differing([conditions(run.params), conditions(first.params)]):
            values = " and ".join(f"{other.params.get(name, 'not set')} in {other.name}" for other in (first, run))
            advice = "" if name.startswith(TASK) else f"; {ANEW}"
            raise UserError(f"RUNS: evaluated differently, and not to be compared: {name} is {values}{advice}")
        for name in differing([run.inputs, first.inputs]):
            if name.startswith(("assets", "tasks")):
                raise UserError(f"RUNS: {run.name} and {first.name} are of another task: {name} differs")
        if run.stage("evaluate").inputs.get(CODE) != first.stage("evaluate").inputs.get(CODE):
            raise UserError(f"RUNS: {run.name} and {first.name} were evaluated by other code: {CODE} differs; {ANEW}")


def refuse_stale_training(run: Run) -> None:
    """Refuse a run whose policy was trained with other params than those of its commit.

    Raises:
        UserError: Naming the first param that differs.
    """
    _refuse_other_params(run, "train")


def _refuse_stale_evaluation(run: Run) -> None:
    """Refuse a run whose metrics are not those that its own evaluation made of its own policy, trained as it says."""
    _refuse_other_params(run, "train")
    _refuse_other_params(run, "evaluate")
    if "evaluate" in run.stages.keys() - up_to_date(run.stages).keys():
        raise UserError(f"RUNS: {run.name} has the metrics of another policy, since only its training was run; {ANEW}")
    recorded = run.stage("evaluate").outputs.get(str(EVALUATION))
    if recorded and recorded != hashlib.md5(run.text(EVALUATION).encode(), usedforsecurity=False).hexdigest():
        raise UserError(f"RUNS: {run.name} has another {EVALUATION} than its dvc.lock says; {ANEW}")


def _refuse_other_params(run: Run, stage: str) -> None:
    """Compare the params that dvc.lock says ``stage`` ran with, which are sections, with those of the commit."""
    then = run.stage(stage).params.get(str(PARAMS_FILE), {})
    content = parse_sections(run.text(PARAMS_FILE), PARAMS_FILE)
    before, now = dict(flat(then)), dict(flat({name: content.get(name) for name in then}))
    for name in differing([before, now]):
        values = f"{name} was {before.get(name, 'not set')}, and is {now.get(name, 'not set')} in params.yaml"
        raise UserError(f"RUNS: {run.name} was not run since its params changed: {values}; `make repro` and commit it")
