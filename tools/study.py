"""Run a study: trials that Optuna proposes, each an experiment of DVC for every seed, side by side: ``make study``."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from optuna.study import Study
from optuna.trial import Trial
from tqdm import tqdm

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.provenance import output_of
from tools.revisions import experiments
from tools.studies import plots, trials
from tools.studies.pools import Cluster, Local
from tools.studies.run import CLONES, remove_clones
from tools.studies.settings import Settings, load_settings

READ_AGAIN = 5.0  # seconds until what is added to the file begins, if there is room


class Run(NamedTuple):
    """A run, which becomes an experiment of DVC."""

    trial: Trial
    seed: int
    name: str


def main() -> None:
    """Run what the study's file wants and has not been run; exits with 1 if a trial failed."""
    parser = argparse.ArgumentParser(prog="make study", description=__doc__)
    parser.add_argument("study", type=Path, help="its file, see docs/studies.md")
    parser.add_argument("--slots", type=int, default=0, help="runs at a time; of each GPU, if on GPUs")
    parser.add_argument("--cluster", default="", help="the address of the head of a Ray cluster, or auto")
    parser.add_argument("--again", type=int, help="the number of a trial that failed, to be tried once more")
    given = parser.parse_args()
    settings = load_settings(given.study)
    if given.slots < 0:
        raise UserError(f"study: SLOTS should be a number of runs, from 1 (given: {given.slots})")
    try:
        with FileLock(CLONES / f"{given.study.stem}.lock", blocking=False):
            remove_clones(given.study.stem)
            with trials.opened(given.study, settings) as study:
                if given.again is not None:
                    trials.repeat(study, given.again)
                with _pool(given, study) as pool:
                    Schedule(given.study, study, pool).run()
    except Timeout:
        raise UserError(f"study: {given.study} is being run already; trials that you add to it are run, too") from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
    print(plots.summary(study))
    for file in plots.draw(study, settings.metric):
        print(f"written: {file}")
    sys.exit(1 if trials.failed(study) else 0)


def _pool(given: argparse.Namespace, study: Study) -> Local | Cluster:
    device, commit = load_params().sim.device, study.user_attrs[trials.COMMIT]
    if not given.cluster:
        return Local(device, given.slots)
    if not output_of("git", "branch", "--remotes", "--contains", commit):
        raise UserError(f"study: CLUSTER: no branch of origin has the commit of its runs, {commit[:7]}; `git push`")
    return Cluster(given.cluster, device, given.slots)


class Schedule:
    """What of a study waits, and what runs.

    Args:
        file: The study's file, which is read again and again, since trials may be added to it.
        study: The study.
        pool: Where its runs go.
    """

    def __init__(self, file: Path, study: Study, pool: Local | Cluster) -> None:
        self._file, self._study, self._pool = file, study, pool
        self._waiting: deque[Run] = deque()
        self._running: dict[Future[str | None], Run] = {}
        self._said = ""  # why the file was not taken, which is said once

    def run(self) -> None:
        """Run until nothing is left, or until interrupted."""
        if not trials.at_head(self._study):
            commit = self._study.user_attrs[trials.COMMIT]
            print(f"the runs are of {commit[:7]}, where the study began, and not of HEAD")
        settings = load_settings(self._file)
        for trial in trials.unfinished(self._study, settings):
            self._begin(trial, settings)
        with tqdm(unit="run", smoothing=0, initial=len(experiments(self._study.study_name))) as bar:
            while self._fill(settings := self._read_again(settings)):
                self._show(bar, settings)
                for future in wait(self._running, READ_AGAIN, FIRST_COMPLETED).done:
                    self._end(future, settings)
            self._show(bar, settings)

    def _read_again(self, settings: Settings) -> Settings:
        """Read the file, which may be half edited, or another study's by now; then what it said before holds."""
        try:
            trials.check_unchanged(self._study, self._file, again := load_settings(self._file))
            return again
        except UserError as error:
            if str(error) != self._said:
                tqdm.write(str(error))
            self._said = str(error)
            return settings

    def _fill(self, settings: Settings) -> bool:
        """Give the pool as much as it has room for; False if nothing runs then."""
        while len(self._running) < self._pool.slots:
            while not self._waiting and (trial := trials.ask(self._study, settings)):
                self._begin(trial, settings)
            if not self._waiting:
                break
            run = self._waiting.popleft()
            given = [run.name, self._study.user_attrs[trials.COMMIT], self._pool.origin]
            self._running[self._pool.submit([*given, *trials.overrides(run.trial, run.seed, settings)])] = run
        return bool(self._running)

    def _begin(self, trial: Trial, settings: Settings) -> None:
        """Let the runs of a trial wait, but for those that are experiments already."""
        names = {trials.experiment(self._study, trial, seed): seed for seed in settings.seeds}
        left = names.keys() - experiments(self._study.study_name)
        self._waiting += [Run(trial, seed, name) for name, seed in names.items() if name in left]
        trials.tell_if_complete(self._study, trial, settings)

    def _end(self, future: Future[str | None], settings: Settings) -> None:
        run = self._running.pop(future)
        error = future.exception()
        if why := str(error) if error else future.result():
            tqdm.write(f"{run.name} failed: {why.splitlines()[-1]}")
            self._waiting = deque(other for other in self._waiting if other.trial.number != run.trial.number)
            trials.tell_failure(self._study, run.trial, why)
            return
        self._pool.fetch(run.name)
        trials.tell_if_complete(self._study, run.trial, settings)

    def _show(self, bar: tqdm, settings: Settings) -> None:
        """Count the runs that are done, run, or have failed; the time left is for those that the file wants."""
        bar.total = settings.count * len(settings.seeds)
        bar.n = len(experiments(self._study.study_name))
        values = [trial.value for trial in trials.complete(self._study)]
        failed = len(trials.failed(self._study))
        best = values[0] if values else None
        bar.set_postfix({"running": len(self._running), "failed trials": failed, "best": best})


if __name__ == "__main__":
    main()
