"""The trials of a study, as Optuna keeps them in the file beside the study's, and the experiments that they are of."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState
from scipy.stats import trim_mean

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.paths import EVALUATION, TRAIN_METRICS
from tools.revisions import experiments, git, metrics_at
from tools.studies.settings import SET, Settings, check_values

AGAIN = "again"  # an attribute of the trials that repeat another: its number
COMMIT = "commit"  # an attribute of the study: what its runs are of, whatever HEAD is later
SETTINGS = "settings"  # an attribute of the study: what its file said as it began, but for the number of trials
_git = partial(git, blame="study")


@contextlib.contextmanager
def opened(path: Path, settings: Settings) -> Iterator[Study]:
    """Open the study in ``path``, or begin it at HEAD; if no trial begins, such as of what is refused, nothing is left.

    Raises:
        UserError: If it cannot begin, for what is not committed, for a value that the params refuse, or for an
            experiment in its way; or if its file has changed since.
    """
    journal = path.with_suffix(".journal")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(
        study_name=path.stem, storage=storage, direction=settings.direction, load_if_exists=True
    )
    try:
        if COMMIT not in study.user_attrs:
            _check_may_begin(path, settings)
            for params in settings.combinations:
                study.enqueue_trial(params, skip_if_exists=True)
            study.set_user_attr(SETTINGS, settings.fixed)
            study.set_user_attr(COMMIT, _git("rev-parse", "HEAD"))
        check_unchanged(study, path, settings)
        yield study
    finally:
        if all(trial.state is TrialState.WAITING for trial in study.get_trials(deepcopy=False)):
            journal.unlink()


def _check_may_begin(path: Path, settings: Settings) -> None:
    changed = _git("diff", "--name-only", "--relative", "-z", "HEAD", "--", ".", f":!{path}").strip("\0")
    if changed:
        raise UserError(
            f"study: not committed: {changed.replace('\0', ', ')}; its runs are of a commit, so commit what they need, "
            "and undo the rest with `git checkout HEAD <file>`"
        )
    check_values(path, settings)
    # Another task has other metrics.
    if metrics_at("HEAD", TRAIN_METRICS, EVALUATION) and "sim.task" not in settings.params:
        _metric("HEAD", settings.metric)
    if names := experiments(path.stem):
        raise UserError(
            f"study: there is an experiment {min(names)} of another study of that name; rename {path}, or "
            f"`dvc exp remove {' '.join(sorted(names))}`"
        )


def check_unchanged(study: Study, path: Path, settings: Settings) -> None:
    """Refuse other settings than those that the study began with: its trials would be of two kinds.

    Raises:
        UserError: If anything but the number of trials differs.
    """
    then, now = study.user_attrs.get(SETTINGS, {}), settings.fixed
    if differ := [name for name in {**then, **now} if then.get(name) != now.get(name)]:
        raise UserError(
            f"study: {path}: {', '.join(differ)} changed since the study began; only trials may: undo that, and give "
            "other values a file of another name, which is another study"
        )


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
    """Draw what has not been drawn yet."""
    for name, distribution in settings.distributions.items():
        trial._suggest(name, distribution)


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
    """Tell Optuna that a run of a trial failed; only the first failure of a trial is told."""
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
    numbers = metrics_at(name, TRAIN_METRICS, EVALUATION)
    if metric not in numbers:
        raise UserError(f"study: metric: {name} has no {metric}; {did_you_mean(metric, numbers)}")
    return numbers[metric]


def _sampler(settings: Settings, seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True) if settings.sampler == "tpe" else RandomSampler(seed)
