"""The pictures of a report, as SVG with the same bytes for the same runs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # no display

from matplotlib import pyplot
from matplotlib.axes import Axes

from pipeline.experiment.paths import EPISODES, LEARNING_CURVE
from tools.comparison.runs import RETURN, Groups
from tools.comparison.statistics import estimate, performance_profile

# Else the ids in the file are random, and it has the date. Text stays text, in a font of the reader's.
mpl.rcParams |= {"svg.hashsalt": "report", "svg.fonttype": "none", "font.size": 9}


def draw(groups: Groups, metric: str) -> Iterator[tuple[str, str]]:
    """Draw what there is data for: a caption and an SVG each."""
    yield f"{metric} of each seed, and its mean with the 95% interval", _figure(_dots, groups, metric)
    if len({run.metrics[metric] for runs in groups.values() for run in runs}) > 1:
        yield f"Share of the seeds above a {metric}", _figure(_profile, groups, metric)
    if any(run.table(LEARNING_CURVE) for runs in groups.values() for run in runs):
        yield "Return in training: the median over the seeds, and the range of all", _figure(_curves, groups, metric)
    if any(run.table(EPISODES) for runs in groups.values() for run in runs):
        yield "Share of the held-out episodes, of all seeds, that return no more", _figure(_episodes, groups, metric)


def _figure(plot, groups: Groups, metric: str) -> str:
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    plot(axes, groups, metric)
    axes.grid(alpha=0.3)
    if plot is not _dots:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), frameon=False)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    pyplot.close(figure)
    drawing = file.getvalue()
    return drawing[drawing.index("<svg") :]


def _dots(axes: Axes, groups: Groups, metric: str) -> None:
    for row, (_, runs) in enumerate(reversed(groups.items())):
        color = f"C{len(groups) - 1 - row}"
        values = [run.metrics[metric] for run in runs]
        axes.plot(values, [row] * len(values), "o", color=color, alpha=0.4)
        center = estimate(np.mean, values)
        axes.plot([center.low, center.high], [row + 0.2] * 2, "-", color=color)
        axes.plot([center.value], [row + 0.2], "D", color=color)
    axes.set(yticks=range(len(groups)), yticklabels=[*reversed(groups)], xlabel=metric, ylim=(-0.5, len(groups) - 0.3))


def _profile(axes: Axes, groups: Groups, metric: str) -> None:
    every = [run.metrics[metric] for runs in groups.values() for run in runs]
    thresholds = np.linspace(min(every), max(every), 200)
    for name, runs in groups.items():
        axes.plot(thresholds, performance_profile([run.metrics[metric] for run in runs], thresholds), label=name)
    axes.set(xlabel=metric, ylabel="share of the seeds", ylim=(-0.05, 1.05))


def _curves(axes: Axes, groups: Groups, _metric: str) -> None:
    for name, runs in groups.items():
        curves = [curve for run in runs if RETURN in (curve := run.table(LEARNING_CURVE))]
        if not curves:
            continue
        length = min(len(curve[RETURN]) for curve in curves)
        returns = np.array([curve[RETURN][:length] for curve in curves])
        seen = ~np.isnan(returns).any(axis=0)  # the first points, before an episode has ended, have none
        steps, returns = np.array(curves[0]["timesteps"][:length])[seen], returns[:, seen]
        (line,) = axes.plot(steps, np.median(returns, axis=0), label=name)
        axes.fill_between(steps, returns.min(axis=0), returns.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="timesteps", ylabel="return, mean of 100 episodes")


def _episodes(axes: Axes, groups: Groups, _metric: str) -> None:
    for name, runs in groups.items():
        returns = np.sort([value for run in runs for value in run.table(EPISODES).get("return", [])])
        if len(returns):
            # Of a thousand episodes each, every point would make a file of megabytes.
            shares = np.linspace(0, 1, 201)
            axes.plot(np.quantile(returns, shares), shares, label=name)
    axes.set(xlabel="return of an episode", ylabel="share of the episodes")
