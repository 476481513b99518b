"""Runs to compare, read from commits and experiments in Git, or from a CSV, and put into groups."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.scm import SCM, resolve_rev

from pipeline.evaluation.statistics import RATES
from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import flat, parse_sections
from pipeline.experiment.paths import CHECKED, EVALUATION, LOCK_FILE, PARAMS_FILE, PIPELINE_FILE
from tools.revisions import experiments, file_at, metrics_at
from tools.verification.recorded import Recorded, stages_of

RETURN = "rollout/ep_rew_mean"  # the column of LEARNING_CURVE
LONGEST = 60  # characters of a name in a table
NOT_RUN = Recorded("", {}, {}, {})


@dataclass(frozen=True)
class Run:
    """A run that was evaluated.

    Args:
        name: The experiment's, or of the revision.
        seed: Of the training.
        metrics: Those of ``metrics/evaluate.json``, or the columns of a CSV.
        params: All but the seed, by their dotted paths; of a CSV, ``group`` alone.
        revision: The commit; empty for a CSV.
        evaluated_anew: Whether ``metrics`` are of another environment than all that the commit has.
    """

    name: str
    seed: int
    metrics: dict[str, float]
    params: dict[str, Any]
    revision: str = ""
    evaluated_anew: bool = False

    def text(self, path: Path) -> str:
        """Read a file of the run's commit; empty if it has none."""
        return _text(self.revision, str(path)) if self.revision else ""

    @functools.cached_property
    def inputs(self) -> dict[str, str]:
        """The digests of the code and the data that trained."""
        inputs = self.stage("train").inputs
        return {path: md5 for path, md5 in inputs.items() if path != str(CHECKED)}  # that also changes for render

    @functools.cached_property
    def stages(self) -> dict[str, Recorded]:
        """What the commit's dvc.lock has of each stage."""
        files = (LOCK_FILE, PIPELINE_FILE)
        return stages_of(*(parse_sections(self.text(file) or "{}", file) for file in files))

    def stage(self, name: str) -> Recorded:
        """Give what the commit's dvc.lock has of a stage; of one that was not run, nothing."""
        return self.stages.get(name, NOT_RUN)

    def table(self, path: Path) -> dict[str, list[float]]:
        """Read a CSV of the run's commit, a list a column; empty if it has none that can be compared."""
        rows = [] if self.evaluated_anew else [*csv.DictReader(self.text(path).splitlines())]
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


Groups = dict[str, list[Run]]


def load_runs(words: Iterable[str]) -> list[Run]:
    """Read what ``words`` name.

    Args:
        words: Commits, tags, branches, experiments, studies, or CSV files with the columns group and seed.

    Raises:
        UserError: If a word names nothing, or a run was not evaluated.
    """
    return [run for word in words for run in _load(word)]


def in_groups(runs: list[Run]) -> Groups:
    """Put runs that differ in the seed alone together.

    Raises:
        UserError: If a CSV has a seed of a group twice, or two groups would have one name.
    """
    together: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = together.setdefault(json.dumps([run.params, run.inputs], sort_keys=True), {})
        if twin := seeds.get(run.seed):
            if not run.revision:
                raise UserError(f"RUNS: {run.name}, is there twice; number the seeds of a group apart")
            print(f"{run.name} is left out: {twin.name} has the same params, seed and code", file=sys.stderr)
        seeds.setdefault(run.seed, run)
    groups = [[*seeds.values()] for seeds in together.values()]
    names = _names(groups)
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UserError(f"RUNS: two groups are called {twice}; compare them apart, or rename the group in the CSV")
    return dict(zip(names, groups, strict=True))


def differing(every: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the names whose values are not the same in all."""
    names = dict.fromkeys(name for values in every for name in values)
    return [name for name in names if any(values.get(name) != every[0].get(name) for values in every)]


def _load(word: str) -> Iterator[Run]:
    if word.endswith(".csv"):
        yield from _from_csv(Path(word))
        return
    for name in sorted(experiments(word)) or [word]:
        yield _from_git(name)


def _from_git(word: str) -> Run:
    try:
        revision = resolve_rev(SCM("."), word)
    except DvcException:
        raise UserError(f"RUNS: {word} is no commit, experiment, study or CSV; see `dvc exp list -A`") from None
    metrics = metrics_at(revision, EVALUATION)
    if not metrics:
        raise UserError(f"RUNS: {word} has no {EVALUATION}; `make repro` evaluates, and a commit keeps it")
    params = params_of(parse_sections(file_at(revision, str(PARAMS_FILE)), PARAMS_FILE))
    return Run(word, params.pop("seed"), metrics, params, revision)


def params_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """List the params in the content of a params.yaml by their dotted paths."""
    # An empty mapping under env changes nothing.
    return {name: value for name, value in flat(content) if value != {} or not name.startswith("env")}


def _from_csv(path: Path) -> Iterator[Run]:
    try:
        rows = [*csv.DictReader(path.read_text("utf-8-sig").splitlines())]
    except (OSError, UnicodeError) as error:
        raise UserError(f"RUNS: {path} cannot be read: {error}") from None
    if not rows:
        raise UserError(f"RUNS: {path} has no rows")
    for line, row in enumerate(rows, start=2):
        try:
            group, seed = row.pop("group").strip(), int(row.pop("seed"))
            values = {name: float(value) for name, value in row.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"RUNS: {path}, line {line}: should have a group, a seed and numbers") from None
        for name, value in values.items():
            if not math.isfinite(value):
                raise UserError(f"RUNS: {path}, line {line}: {name} is not finite")
            if name in RATES.values() and not 0 <= value <= 1:
                raise UserError(f"RUNS: {path}, line {line}: {name} should be a share from 0 to 1")
        yield Run(f"{group}, seed {seed}", seed, values, {"group": group})


@functools.cache  # of a commit, which does not change: a table is in several pictures
def _text(revision: str, path: str) -> str:
    return file_at(revision, path, missing="")


def _names(groups: list[list[Run]]) -> list[str]:
    """Name each group by the params that differ; if they do not, or are many, by its first run, or that run's trial."""
    first = [group[0] for group in groups]
    differ = differing([run.params for run in first if run.revision])
    names = [", ".join(f"{name}={run.params.get(name, 'not set')}" for name in differ) for run in first if run.revision]
    if len(set(names)) < len(names) or not all(0 < len(name) <= LONGEST for name in names):
        names = [re.sub(r"(-\d{4})-s\d+$", r"\1", run.name) for run in first if run.revision]
    of_git = iter(names)
    return [next(of_git) if run.revision else run.params["group"] for run in first]
