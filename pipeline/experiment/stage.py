"""The frame of every stage: params, checks, the run's record, one sentence for an error that a person can mend."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable

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
    """Run a stage as a process: exits with 1 after a :class:`UserError`, with 130 after Ctrl-C, SIGTERM or SIGHUP.

    Args:
        stage: The function of the stage. It imports torch and the simulator itself, because they read the settings
            that are made here.
    """
    console.keep_open()
    interruption.listen()
    if "DVC_STAGE" in os.environ:
        _end_with_parent()
    name = stage.__name__
    try:
        params = load_params()
        check_machine(params.sim)
        prepare_process(params.sim.threads)
        with Run(name, Inputs(name)) as run:
            forget_recorded(run.root)
            stage(params, run)
            interruption.check()
            run.inputs.check_unchanged()
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(
            f"{name}: stopped; DVC records nothing of this run "
            "(`git checkout HEAD . && dvc checkout --force` brings back the committed results)",
            file=sys.stderr,
        )
        sys.exit(130)


def _end_with_parent() -> None:
    """Let Linux send SIGTERM when DVC dies, lest the stage goes on writing into the workspace that DVC has left."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def prepare_process(threads: int) -> None:
    """Make the settings that libraries read when they are imported: arithmetic, ``threads``, and a faster start."""
    gc.disable()  # until the simulator has started: among the million objects that it is made of there is no garbage
    gc.set_threshold(50_000, 20, 100)  # nor is there much later
    atexit.register(gc.freeze)  # nor at the end, where Python would look for it for a second
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    pin_numerics(threads)
