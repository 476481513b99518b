"""The trials of a study, as Optuna keeps them in the file beside the study's, and the experiments that they are of."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState
from scipy.stats import trim_mean

from pipeline.experiment.errors import UserError, did_you_mean, one_line
from pipeline.experiment.paths import EVALUATION, TRAIN_METRICS
from tools.revisions import file_at, git
from tools.studies.settings import SET, Settings, check_values

AGAIN = "again"  # an attribute of the trials that repeat another: its number
COMMIT = "commit"  # an attribute of the study: what its runs are of, whatever HEAD is later
_git = partial(git, blame="study")
REFS = "refs/exps/*/*/"


def open_study(path: Path, settings: Settings) -> Study:
    """Open the study in ``path``, or begin it at HEAD.

    Raises:
        UserError: If it cannot begin, for what is not committed, or for an experiment in its way.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(path.with_suffix(".journal"))))
    study = optuna.create_study(
        study_name=path.stem, storage=storage, direction=settings.direction, load_if_exists=True
    )
    if COMMIT not in study.user_attrs:
        check_values(path, settings)
        commit = _begin(path)
        for params in settings.combinations:
            study.enqueue_trial(params, skip_if_exists=True)
        study.set_user_attr(COMMIT, commit)
    return study


def _begin(path: Path) -> str:
    changed = _git("status", "--porcelain", "--", ".", f":!{path.with_suffix('.*')}").splitlines()  # its file aside
    if changed:
        raise UserError(
            f"study: {changed[0].strip()}: its runs are of a commit, and this is not in it; commit it, or move it away"
        )
    if names := experiments(path.stem):
        raise UserError(
            f"study: there is an experiment {min(names)} of another study of that name; rename {path}, or "
            f"`dvc exp remove {' '.join(sorted(names))}`"
        )
    return _git("rev-parse", "HEAD")


def at_head(study: Study) -> bool:
    """Tell whether the runs of a study are of the commit that is checked out."""
    return study.user_attrs[COMMIT] == _git("rev-parse", "HEAD")


def ask(study: Study, settings: Settings) -> Trial | None:
    """Ask Optuna for the next trial; None if there are as many as the file wants."""
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state is TrialState.WAITING for trial in trials)
    if not waiting and sum(AGAIN not in trial.user_attrs for trial in trials) >= settings.count:
        return None
    study.sampler = _sampler(settings, seed=len(trials))  # one seed for all would draw the same again after a stop
    trial = study.ask()
    propose(trial, settings)
    return trial


def propose(trial: Trial, settings: Settings) -> None:
    """Draw what has not been drawn yet.

    Raises:
        UserError: If the study began with other values.
    """
    for name, distribution in settings.distributions.items():
        try:
            trial._suggest(name, distribution)
        except ValueError as error:
            raise UserError(
                f"study: params: {name}: the study began with other values ({one_line(error)}); copy the file to "
                "another name, which is another study"
            ) from None


def unfinished(study: Study, settings: Settings) -> list[Trial]:
    """List the trials that were running when the study was stopped."""
    frozen = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    trials = [Trial(study, trial._trial_id) for trial in frozen]
    for trial in trials:
        propose(trial, settings)
    return trials


def repeat(study: Study, number: int) -> None:
    """Let a trial that failed be tried once more; of its runs, those that did not fail come from DVC's run cache.

    Raises:
        UserError: If it did not fail.
    """
    if number in _repeated(study):
        return  # as when the same command goes on after a stop
    failures = {trial.number: trial for trial in failed(study)}
    if number not in failures:
        those = f"those that did: {', '.join(map(str, failures)) or 'none'}"
        raise UserError(f"study: AGAIN={number}: that trial did not fail; {those}")
    study.enqueue_trial(failures[number].params, user_attrs={AGAIN: number})


def experiment(study: Study, trial: BaseTrial, seed: int | str) -> str:
    """Name the experiment of a trial with this seed."""
    return f"{study.study_name}-{trial.number:04}-s{seed}"


def overrides(trial: Trial, seed: int, settings: Settings) -> list[str]:
    """List what an experiment has other than params.yaml, as ``dvc exp run -S`` takes it."""
    params = {**settings.constants, **trial.params, "seed": str(seed)}
    return [f"{SET}{name}={text}" for name, text in params.items()]


def experiments(prefix: str) -> set[str]:
    """List the experiments of this repository, of any commit, whose names are of this study."""
    listed = _git("for-each-ref", "--format=%(refname)", f"{REFS}{prefix}-[0-9][0-9][0-9][0-9]-s*").split()
    return {name.rpartition("/")[2] for name in listed}


def tell_if_complete(study: Study, trial: Trial, settings: Settings) -> None:
    """Tell Optuna how a trial did, once its experiments are all there."""
    names = {experiment(study, trial, seed) for seed in settings.seeds}
    if not (_is_running(study, trial) and names <= experiments(study.study_name)):
        return
    values = {seed: _metric(experiment(study, trial, seed), settings.metric) for seed in settings.seeds}
    trial.set_user_attr("values", values)
    trial.set_user_attr("spread", statistics.pstdev(values.values()))
    study.tell(trial.number, average(values, settings.average))


def tell_failure(study: Study, trial: Trial, why: str) -> None:
    """Tell Optuna that a run of a trial failed; what another of its runs failed of has been told then."""
    if _is_running(study, trial):
        trial.set_user_attr("error", why)
        study.tell(trial.number, state=TrialState.FAIL)


def _is_running(study: Study, trial: Trial) -> bool:
    return study.get_trials(deepcopy=False)[trial.number].state is TrialState.RUNNING


def failed(study: Study) -> list[FrozenTrial]:
    """List the trials that failed and were not repeated."""
    repeated = _repeated(study)
    trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [trial for trial in trials if trial.number not in repeated]


def _repeated(study: Study) -> set[int | None]:
    return {trial.user_attrs.get(AGAIN) for trial in study.get_trials(deepcopy=False)}


def complete(study: Study) -> list[FrozenTrial]:
    """List the trials that are complete, the best first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: trial.value or 0.0, reverse=study.direction is StudyDirection.MAXIMIZE)


def best_experiment(study: Study) -> str:
    """Name the experiment of the best trial that has the best seed."""
    best, choose = complete(study)[0], max if study.direction is StudyDirection.MAXIMIZE else min
    values = best.user_attrs["values"]
    return experiment(study, best, choose(values, key=values.get))


def average(values: Mapping[int, float], kind: str) -> float:
    """Average over the seeds; the interquartile mean leaves out a quarter at either end."""
    return float(trim_mean(list(values.values()), 0.25 if kind == "interquartile_mean" else 0.0))


def _metric(name: str, metric: str) -> float:
    metrics = {**_read(name, TRAIN_METRICS), **_read(name, EVALUATION)}
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}
    if metric not in numbers:
        raise UserError(f"study: metric: {name} has no {metric}; {did_you_mean(metric, numbers)}")
    return numbers[metric]


def _read(revision: str, path: Path) -> dict[str, Any]:
    return json.loads(file_at(revision, str(path), missing="{}"))


def _sampler(settings: Settings, seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True) if settings.sampler == "tpe" else RandomSampler(seed)
