"""The picture of ``make robustness``: success as colour and number, by factor and value."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from tools.perturbations.factors import FACTORS, NOMINAL


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the results of policies, by their folders, side by side; an engine a row."""
    from matplotlib.figure import Figure  # which needs no display
    from PIL import Image

    engines = list(dict.fromkeys(row["engine"] for rows in results.values() for row in rows))
    figure = Figure(figsize=(2.6 + 3.4 * len(results), 3.6 * len(engines)), layout="constrained")
    panels = figure.subplots(len(engines), len(results), squeeze=False)
    for column, (folder, rows) in enumerate(results.items()):
        for line, engine in enumerate(engines):
            panel = panels[line][column]
            _draw_panel(panel, [row for row in rows if row["engine"] == engine])
            panel.set_title(f"{folder} on {engine}", fontsize=9)
            panel.set_yticks(range(1 + len(FACTORS)), (NOMINAL, *FACTORS) if not column else (), fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size


def _draw_panel(panel: Any, rows: list[dict[str, Any]]) -> None:
    """Draw a policy on an engine: a line a factor, a box a value."""
    longest = max(len(factor.values) for factor in FACTORS.values())
    rates = [[math.nan] * longest for _ in (NOMINAL, *FACTORS)]  # where there is no value, nothing is drawn
    for line, name in enumerate((NOMINAL, *FACTORS)):
        for column, row in enumerate(row for row in rows if row["factor"] == name):
            rates[line][column] = row["success_rate"]
            value = "" if name == NOMINAL else f"{row['value']:g}: "
            panel.text(column, line, f"{value}{row['success_rate']:.0%}", ha="center", va="center", fontsize=8)
    panel.imshow(rates, cmap="RdYlGn", vmin=-0.2, vmax=1.2, aspect="auto")  # pale, so that the numbers can be read
    panel.set_xticks(())
