"""The frame of every stage: params, checks, the run's record, one sentence for an error that a person can mend."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator

from pipeline.experiment import console, interruption
from pipeline.experiment.errors import UserError
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.numerics import pin_numerics
from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params
from pipeline.experiment.preflight import check_machine
from pipeline.experiment.provenance import Run
from pipeline.experiment.resume_store import forget_recorded

Stage = Callable[[Params, Run], None]


def run_stage(stage: Stage) -> None:
    """Run a stage, and record the run.

    Args:
        stage: The function of the stage. It imports torch and the simulator itself, because they read the settings
            that are made here.
    """
    name = stage.__name__
    stopped = (
        "stopped; DVC records nothing of this run "
        "(`git checkout HEAD . && dvc checkout --force` brings back the committed results)"
    )
    with process(name, stopped) as params, Run(name, Inputs(name)) as run:
        forget_recorded(run.root)
        stage(params, run)
        interruption.check()
        run.inputs.check_unchanged()


@contextlib.contextmanager
def process(name: str, stopped: str) -> Iterator[Params]:
    """Make this process ready for torch and the simulator, and see to how it ends.

    It exits with 1 and the sentence of a :class:`UserError`, and with 130 and ``stopped`` after Ctrl-C, SIGTERM or
    SIGHUP.

    Args:
        name: What its messages begin with.
        stopped: What has become of the work of a process that is stopped.

    Yields:
        The params, which this machine can run.
    """
    console.keep_open()
    interruption.listen()
    if "DVC_STAGE" in os.environ:
        interruption.end_with_parent()  # lest the stage goes on writing into the workspace that DVC has left
    try:
        params = load_params()
        check_machine(params.sim)
        _prepare(params.sim.threads)
        yield params
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: {stopped}", file=sys.stderr)
        sys.exit(130)


def _prepare(threads: int) -> None:
    """Make the settings that libraries read when they are imported: arithmetic, ``threads``, and a faster start."""
    gc.disable()  # until the simulator has started: among the million objects that it is made of there is no garbage
    gc.set_threshold(50_000, 20, 100)  # nor is there much later
    atexit.register(gc.freeze)  # nor at the end, where Python would look for it for a second
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    pin_numerics(threads)
