"""Sum up the experiments, those that differ in the seed alone as one line: the end of ``make experiments``."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.experiment.params_file import flat
from pipeline.experiment.paths import EVALUATION, PARAMS_FILE
from tools.comparison.runs import differing

HEADLINES = ("return_mean", "success_rate", "survival_rate")
Values = dict[str, Any]  # of params, by their paths


def main() -> None:
    """Print a line for each group; nothing if no two experiments differ in the seed alone."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *sys.argv[1:]]
    shown = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    groups = _group(_evaluated(shown))
    if any(len(group) > 1 for group in groups.values()):
        print("\n" + "\n".join(_lines(groups)))


def _evaluated(shown: list[Any]) -> Iterator[tuple[Values, Values]]:
    """List the params, with the digests of what was read, and the metrics of all experiments that were evaluated."""
    for commit in shown:
        for experiment in commit["experiments"] or []:
            data = experiment["revs"][0]["data"] or {}
            params = data.get("params", {}).get(str(PARAMS_FILE), {}).get("data")
            metrics = data.get("metrics", {}).get(str(EVALUATION), {}).get("data")
            if params and metrics:
                yield {name: value for name, value in flat(params) if value != {}} | _inputs(data), metrics


def _inputs(data: Mapping[str, Any]) -> Values:
    """Shorten the digests of the code and the data that an experiment read, apart from what it made itself."""
    made = {*data["outs"], *data["metrics"], str(PARAMS_FILE)}
    return {path: dep["hash"][:7] for path, dep in data["deps"].items() if dep["hash"] and path not in made}


def _group(evaluated: Iterator[tuple[Values, Values]]) -> dict[str, dict[Any, Values]]:
    """Put together what differs in the seed alone: by all else, as JSON, the metrics by the seed."""
    groups: dict[str, dict[Any, Values]] = defaultdict(dict)
    for params, metrics in evaluated:
        seed = params.pop("seed", None)
        groups[json.dumps(params, sort_keys=True)][seed] = metrics
    return groups


def _lines(groups: Mapping[str, Mapping[Any, Values]]) -> Iterator[str]:
    every = [json.loads(params) for params in groups]
    differ = sorted(differing(every))
    summaries = [_summary([*group.values()]) for group in groups.values()]
    width = max(map(len, summaries))
    yield f"{'seeds':>5}  {'mean and spread':<{width}}  what differs"
    for params, group, summary in zip(every, groups.values(), summaries, strict=True):
        chosen = ", ".join(f"{name}={params.get(name, 'not set')}" for name in differ)
        yield f"{len(group):>5}  {summary:<{width}}  {chosen}"


def _summary(runs: list[Values]) -> str:
    headlines = {name: [run[name] for run in runs if name in run] for name in HEADLINES}
    return "  ".join(
        f"{name} {statistics.fmean(values):.4g}" + (f" ± {statistics.pstdev(values):.2g}" if len(values) > 1 else "")
        for name, values in headlines.items()
        if values
    )


if __name__ == "__main__":
    main()
