"""Refuse params that no stage can run with, before DVC deletes the outputs of the stage that it runs next."""

from __future__ import annotations

import sys

from pipeline.checks import check_all
from pipeline.errors import UserError
from pipeline.params import load_params


def main() -> None:
    """Exit with 1 and a sentence if something is wrong with params.yaml on this machine."""
    try:
        params = load_params()
        check_all(params)
        if params.env:  # what fields there are, Isaac Lab alone knows, and takes three seconds to import
            from pipeline import simulation

            simulation.configure(params, num_envs=params.train.num_envs, seed=params.seed)
    except UserError as error:
        sys.exit(f"check: {error}")


if __name__ == "__main__":
    main()
