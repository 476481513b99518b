"""What a study has found, as a table and as pictures."""

from __future__ import annotations

import warnings
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from pipeline.experiment.paths import LOGS
from tools.studies.trials import at_head, best_experiment, complete, failed

LONGEST = 100  # characters of a trial's params in the table


def summary(study: Study) -> str:
    """Write a table of the trials, the best first, and what to do with the best and with those that failed."""
    best_first = complete(study)
    lines = [f"{'trial':>6} {'value':>10} {'spread':>9}  params"]
    lines += [_row(trial) for trial in best_first]
    if best_first:
        name = best_experiment(study)
        # Elsewhere, `dvc exp apply` would take back what has been committed since.
        branch = f"dvc exp branch {name} {study.study_name}-best` and `git merge {study.study_name}-best"
        take = f"dvc exp apply {name}" if at_head(study) else branch
        lines.append(f"\n`{take}` takes the best; `make repro` then makes what a study leaves out, such as the video")
    for trial in failed(study):
        lines.append(f"trial {trial.number} failed, and AGAIN={trial.number} tries it once more:")
        lines.append(trial.user_attrs["error"])
    return "\n".join(lines)


def draw(study: Study, metric: str) -> list[Path]:
    """Draw the trials as parallel coordinates, and how much each of the params matters; returns the files.

    With fewer than two trials, or params, there is nothing to compare.
    """
    from matplotlib import use

    use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as pictures

    best_first = complete(study)
    kinds = {"parallel": pictures.plot_parallel_coordinate, "importance": pictures.plot_param_importances}
    if len(best_first) < 2 or len(best_first[0].params) < 2 or best_first[0].value == best_first[-1].value:
        return []
    files = []
    for kind, plot in kinds.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its pictures experimental
            plot(study, target_name=metric)
        files.append(Path(LOGS) / f"{study.study_name}_{kind}.png")
        pyplot.gcf().set_size_inches(10, 6)
        pyplot.savefig(files[-1], dpi=120, bbox_inches="tight")
        pyplot.close("all")
    return files


def _row(trial: FrozenTrial) -> str:
    params = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    short = params if len(params) <= LONGEST else f"{params[:LONGEST]} ..."
    return f"{trial.number:>6} {trial.value:>10.4f} {trial.user_attrs['spread']:>9.4f}  {short}"
