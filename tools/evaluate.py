"""Evaluate policies as the stage ``evaluate`` does, but any, and without touching an output: ``make evaluate``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.metrics import write_rows
from pipeline.experiment.params import Params
from pipeline.experiment.paths import LOGS
from pipeline.experiment.stage import process

if TYPE_CHECKING:
    from pipeline.policy.policy import Policy


def main() -> None:
    """Print a table, and write it as CSV and as a picture; exits with 1 and a sentence for what cannot be evaluated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", nargs="+", type=Path, help="folder with a policy, or with folders of policies")
    parser.add_argument("--to", type=Path, default=Path(LOGS) / f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}_policies")
    given = parser.parse_args()
    folders, target = given.policy, given.to
    with process("evaluate", "stopped; nothing was written") as params:
        rows = evaluate(params, [policy for folder in folders for policy in find_policies(folder)], target)
    write_rows(target / "evaluation.csv", rows)
    plot(rows, target / "evaluation.png")
    print(f"\n{table(rows)}\n\nwritten: {target}/evaluation.csv, evaluation.png")


def find_policies(folder: Path) -> list[Path]:
    """Find the policy in ``folder``, or else those in its folders.

    Raises:
        UserError: If there is none.
    """
    from pipeline.policy.policy import JSON_FILE

    if not folder.is_dir():
        raise UserError(f"POLICY: there is no folder {folder}")
    found = [*folder.glob(JSON_FILE)] or sorted(folder.glob(f"*/{JSON_FILE}"))
    if not found:
        raise UserError(f"POLICY: neither {folder} nor a folder in it has a policy ({JSON_FILE})")
    return [path.parent for path in found]


def load_policies(folders: list[Path], task: str) -> dict[Path, Policy]:
    """Load policies of a task, by their folders.

    Raises:
        UserError: For the first that cannot be read, or was trained for another task.
    """
    from pipeline.policy.policy import Policy

    policies = {folder: Policy.load(folder) for folder in folders}
    for folder, policy in policies.items():
        if policy.task != task:
            raise UserError(f"{folder}: the policy was trained for {policy.task}; set sim.task to that in params.yaml")
    return policies


def evaluate(params: Params, folders: list[Path], target: Path) -> list[dict[str, Any]]:
    """Evaluate the policies in ``folders``, one after another in one simulator; returns a row each, by timesteps.

    Raises:
        UserError: If a policy cannot be read, or was trained for another task.
    """
    from pipeline.evaluation.evaluate import configure, evaluate_policy
    from pipeline.simulation import launch

    policies = load_policies(folders, params.sim.task)
    cfg = configure(params.sim, params.env, params.evaluate)
    target.mkdir(parents=True)
    rows = []
    with launch.running(params.sim, cfg, target / "simulator.log") as env:
        for folder, policy in sorted(policies.items(), key=lambda item: item[1].timesteps):
            policy.check_matches(params.sim.task, env.observation_space, env.action_space)
            print(folder.name, file=sys.stderr)  # whose bar comes next
            _, metrics = evaluate_policy(env, policy, params.evaluate)
            rows.append({"policy": str(folder), "timesteps": policy.timesteps, **metrics})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the timesteps, the return with its interval, and the rate of success, or of survival."""
    width, rate = max(len(row["policy"]) for row in rows), _rate(rows)
    lines = [f"{'policy':<{width}}  {'timesteps':>11}  return                    {rate.replace('_', ' ')}"]
    for row in rows:
        interval = f"{row['return_mean']:.3f}  ({row['return_low']:.3f} to {row['return_high']:.3f})"
        lines.append(f"{row['policy']:<{width}}  {row['timesteps']:>11,}  {interval:<24}  {row[rate]:.1%}")
    return "\n".join(lines)


def _rate(rows: list[dict[str, Any]]) -> str:
    """Name the metric that says how often an episode went well."""
    from pipeline.evaluation.statistics import RATES

    return next(name for name in RATES.values() if name in rows[0])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the return with its interval, and the rate of success, or of survival, over timesteps."""
    from matplotlib.figure import Figure  # which needs no display

    steps, returns = [row["timesteps"] for row in rows], [row["return_mean"] for row in rows]
    figure = Figure(figsize=(8, 6), layout="constrained")
    panels, rate = figure.subplots(2, sharex=True), _rate(rows)
    errors = [[abs(row["return_mean"] - row[bound]) for row in rows] for bound in ("return_low", "return_high")]
    panels[0].errorbar(steps, returns, errors, marker="o", capsize=3)
    panels[0].set_ylabel("return, mean and 95% interval")
    panels[1].plot(steps, [row[rate] for row in rows], marker="o")
    panels[1].set(ylabel=rate.replace("_", " "), ylim=(-0.02, 1.02))
    panels[-1].set_xlabel("timesteps")
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
