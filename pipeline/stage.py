"""How every stage runs: params first, then the checks, then the simulator; one sentence for what the user can mend."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline import interruption
from pipeline.checks import check_all
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.numerics import pin_numerics
from pipeline.params import Params, Sim, load_params
from pipeline.provenance import Run
from pipeline.workarounds import import_filelock_without_its_audit_hook

MODELS = Path("models")
METRICS = Path("metrics")
VIDEOS = Path("videos")

Stage = Callable[[Params, Run], None]


def run_stage(stage: Stage) -> None:
    """Run a stage as a process: exits with 1 after a :class:`UserError`, with 130 after Ctrl-C or SIGTERM.

    Args:
        stage: The function of the stage. It imports torch and the simulator itself, because they read the settings
            that are made here.
    """
    interruption.listen()
    if "DVC_STAGE" in os.environ:
        _end_with_parent()
    name = stage.__name__
    try:
        params = load_params()
        check_all(params)
        prepare_process(params.sim)
        with Run(name, params, Inputs(name)) as run:
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


def prepare_process(sim: Sim) -> None:
    """Set what the libraries read when they are imported (threads, arithmetic), and let them start fast."""
    gc.disable()  # until the simulator has started: among the million objects that it is made of there is no garbage
    gc.set_threshold(50_000, 20, 100)  # nor is there much later
    atexit.register(gc.freeze)  # nor at the end, where Python would look for it for a second
    import_filelock_without_its_audit_hook()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    pin_numerics(sim.threads)
