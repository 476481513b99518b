"""Compare groups of runs that differ in more than the seed, by statistics over seeds: ``make compare``."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tabulate import tabulate

from pipeline.evaluation.statistics import RATES
from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import LEARNING_CURVE, PARAMS_FILE
from tools.comparison import statistics
from tools.comparison.anew import evaluate_anew
from tools.comparison.conditions import conditions, refuse_incomparable
from tools.comparison.runs import RETURN, Groups, Run, in_groups, load_runs, params_of
from tools.comparison.statistics import ENOUGH, Estimate, estimate

SOLVED = 0.99  # of the episodes, from which on a seed counts as solved
NOTE = (
    "In brackets: 95% intervals over seeds, by the bootstrap; of shares, Wilson's. p is adjusted for the number of "
    "groups (Benjamini and Hochberg)."
)


def main() -> None:
    """Print the comparison; exits with 1 and a sentence if it must not be made."""
    parser = arguments("make compare", __doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--md", action="store_true", help="as Markdown")
    kind.add_argument("--json", action="store_true", help="as JSON")
    given = parser.parse_args()
    compared = compare(load_groups(given.runs, anew=given.evaluate), given.metric)
    print(json.dumps(_finite(compared), indent=2) if given.json else text(compared, "github" if given.md else "simple"))


def arguments(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser of what comparisons are of."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("runs", nargs="+", help="commits, tags, experiments, studies, or CSV files")
    parser.add_argument("--metric", default="return_mean", help="of metrics/evaluate.json; more is better")
    parser.add_argument("--evaluate", action="store_true", help="the policies anew, all as params.yaml says")
    return parser


def load_groups(words: Iterable[str], *, anew: bool = False) -> Groups:
    """Read what ``words`` name, in groups of runs that differ in the seed alone; evaluate them ``anew`` if asked to.

    Raises:
        UserError: If a word names nothing, a run was not evaluated, its results are not of its own params, or two were
            evaluated differently and are not anew.
    """
    runs = load_runs(words)
    if anew:
        return in_groups(evaluate_anew(runs))
    refuse_incomparable(runs)
    return in_groups(runs)


def compare(groups: Groups, metric: str) -> dict[str, Any]:
    """Compute what is known of each group, and of each against the first.

    Raises:
        UserError: If a run has no such metric.
    """
    for run in (run for runs in groups.values() for run in runs):
        if metric not in run.metrics:
            raise UserError(f"compare: {run.name} has no {metric}; it has {', '.join(sorted(run.metrics))}")
    described = [{"group": name} | describe(runs, metric) for name, runs in groups.items()]
    first = next((run for runs in groups.values() for run in runs if run.revision), None)
    anew = first is not None and first.evaluated_anew
    params = params_of(read_sections(PARAMS_FILE)) if anew else first.params if first else {}
    return {
        "metric": metric,
        "evaluated_anew": anew,
        "evaluated_with": conditions(params),
        "groups": described,
        "against_the_first": [*_against_first(groups, metric)],
    }


def describe(runs: list[Run], metric: str) -> dict[str, Any]:
    """Sum up a group: centres with intervals, the share of its seeds that solved the task, sample efficiency."""
    values = [run.metrics[metric] for run in runs]
    found: dict[str, Any] = {
        "seeds": [run.seed for run in runs],
        "values": values,
        "mean": estimate(np.mean, values),
        "median": estimate(np.median, values),
        "interquartile_mean": estimate(statistics.interquartile_mean, values),
    }
    if rates := [run.metrics[name] for run in runs for name in RATES.values() if name in run.metrics]:
        found["solved"] = statistics.rate(sum(value >= SOLVED for value in rates), len(rates))
    curves = [curve[RETURN] for run in runs if RETURN in (curve := run.table(LEARNING_CURVE))]
    if curves:
        found["return_over_training"] = estimate(np.mean, [float(np.nanmean(curve)) for curve in curves])
    return found


def _against_first(groups: Groups, metric: str) -> Iterator[dict[str, Any]]:
    values = {name: [run.metrics[metric] for run in runs] for name, runs in groups.items()}
    first, *others = values
    judged = [name for name in others if min(len(values[name]), len(values[first])) >= ENOUGH]
    p_values = statistics.adjusted([statistics.p_value(values[name], values[first]) for name in judged])
    p_of = dict(zip(judged, p_values, strict=True))
    for name in others:
        if name not in p_of:
            yield {"group": name, "verdict": f"no verdict: fewer than {ENOUGH} seeds"}
            continue
        difference = estimate(statistics.difference, values[name], values[first])
        yield {
            "group": name,
            "difference": difference,
            "better": estimate(statistics.probability_of_improvement, values[name], values[first]),
            "p": p_of[name],
            "verdict": _verdict(difference, p_of[name]),
        }


def _verdict(difference: Estimate, p: float) -> str:
    if p >= 1 - statistics.LEVEL or difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "better" if difference.value > 0 else "worse"


def text(compared: dict[str, Any], style: str) -> str:
    """Write the tables, for a terminal or as Markdown."""
    tables = [tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True) for rows in tables_of(compared)]
    return "\n\n".join([*tables[:1], *values_of_few(compared), *filter(None, tables[1:]), note(compared)])


def values_of_few(compared: dict[str, Any]) -> list[str]:
    """List the values of each group that has too few seeds for an interval."""
    few = [group for group in compared["groups"] if len(group["seeds"]) < ENOUGH]
    return [f"{group['group']}: {', '.join(f'{value:.4g}' for value in group['values'])}" for group in few]


def note(compared: dict[str, Any]) -> str:
    """Say what the tables do not."""
    params = ", ".join(f"{name}={value}" for name, value in compared["evaluated_with"].items())
    how = "All policies were evaluated anew" if compared["evaluated_anew"] else "The runs in Git were evaluated"
    return f"{NOTE} {how} with {params}." if params else NOTE


def tables_of(compared: dict[str, Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Lay out what :func:`compare` has found: a row a group, and a row for each against the first."""
    groups, against = compared["groups"], compared["against_the_first"]
    described = [
        {
            "group": group["group"],
            "seeds": str(len(group["seeds"])),
            f"{compared['metric']}, mean": show(group["mean"]),
            "median": show(group["median"]),
            "interquartile mean": show(group["interquartile_mean"]),
            f"seeds with {SOLVED:.0%} success": show(group.get("solved"), "{:.0%}"),
            "return over training": show(group.get("return_over_training")),
        }
        for group in groups
    ]
    judged = [
        {
            f"against {groups[0]['group']}": row["group"],
            "difference of means": show(row.get("difference"), "{:+.3f}"),
            "probability to be better": show(row.get("better"), "{:.2f}"),
            "p, permutation test": f"{row['p']:.4f}" if "p" in row else "",
            "verdict": row["verdict"],
        }
        for row in against
    ]
    return [{name: row[name] for name in row if any(other[name] for other in described)} for row in described], judged


def show(value: Estimate | None, form: str = "{:.3f}") -> str:
    """Write an estimate with its interval; a group of few seeds has none."""
    if value is None:
        return ""
    numbers = [form.format(number) for number in value]
    return numbers[0] if math.isnan(value.low) else f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def _finite(content: Any) -> Any:
    """Write null for what is not a number, which JSON has not."""
    if isinstance(content, Estimate):
        return {name: _finite(value) for name, value in content._asdict().items()}
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


if __name__ == "__main__":
    main()
