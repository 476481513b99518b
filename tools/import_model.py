"""Bring a stranger's PPO model of stock SB3 in, as a policy of this project: ``make import-model``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from pipeline.experiment.errors import UserError
from tools.delivery import beside, put_in_place

READER = (sys.executable, "-W", "ignore", "-m", "tools.read_sb3")
SECONDS = 300  # to wait for the reader, which may compute for fewer
USAGE = (
    "import-model: say FROM=model.zip TASK=Isaac-Cartpole TO=<a new folder>, and STATS=vecnormalize.pkl if there is one"
)
WARNING = (
    "import-model: SB3's files hold pickles, and a pickle can run any program under your name when it is loaded, which "
    "stock `PPO.load` and `VecNormalize.load` do. Here a process of bounded memory and time reads them and calls "
    "nothing that they name; if you know where they come from, say TRUST=yes"
)


def main() -> None:
    """Import what the command line names; exits with 1 and a sentence if that cannot be."""
    parser = argparse.ArgumentParser(prog="make import-model", description=__doc__)
    for name in ("from", "stats", "task", "to", "trust"):
        parser.add_argument(f"--{name}", default="")
    given = vars(parser.parse_args())
    if not (given["from"] and given["task"] and given["to"]):
        raise UserError(USAGE)
    if given["trust"] != "yes":
        raise UserError(WARNING)
    import_model(given["from"], given["stats"], given["task"], Path(given["to"]))
    print(f"{given['to']} has the policy; evaluate it with `make evaluate POLICY={given['to']}`")


def import_model(model: str, statistics: str, task: str, target: Path) -> None:
    """Write the policy in ``model`` into the new folder ``target``.

    Raises:
        UserError: If there is no such file, something at ``target``, or nothing that can be read within bounds.
    """
    for file in filter(None, (model, statistics)):
        if not Path(file).is_file():
            raise UserError(f"import-model: there is no file {file}")
    if target.exists():
        raise UserError(f"import-model: TO: there is {target} already; take another name, or move that away")
    with beside(target) as folder:
        try:
            code = subprocess.run([*READER, model, statistics, task, folder], check=False, timeout=SECONDS).returncode
        except subprocess.TimeoutExpired:
            code = None
        if code == 1:
            sys.exit(1)  # it has said why
        if code != 0:
            raise UserError(f"import-model: {model} cannot be imported: to read it takes too much memory or time")
        put_in_place(folder, target)


if __name__ == "__main__":
    main()
