"""What stands beside the scene on the page: controls, and plots of the first environment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Literal

import numpy as np
from viser import GuiButtonHandle, GuiUplotHandle, ViserServer, uplot

SPEEDS = ("1/16", "1/8", "1/4", "1/2", "1", "2", "4", "as fast as it goes")
HISTORY = 300  # steps in a plot
COLORS = ("#3b82f6", "#ef4444", "#10b981", "#f59e0b", "#8b5cf6")
Act = Callable[[], None]
Key = Literal["F", "H", "J", "L", "N", "P", "R"]  # not A, D, E, Q, S and W, with which viser moves the camera
PUSH_KEYS: tuple[Key, ...] = ("F", "H", "J", "L")


class Panel:
    """The controls. The browser's threads only leave wishes here, which the simulation takes between two steps.

    Args:
        server: The page's server, whose own controls go.
        first: What to call what acts before any policy.
        reset: What starts the episodes anew.
        pushes: What can be pushed, by name.
    """

    def __init__(self, server: ViserServer, first: str, reset: Act, pushes: Mapping[str, Act]) -> None:
        gui = self._gui = server.gui
        gui.reset()
        gui.configure_theme(control_layout="collapsible")  # beside the scene, and not over it
        self.wishes: SimpleQueue[Act] = SimpleQueue()
        self.paused, self.single_step = False, False
        self._data: dict[str, dict[str, deque[float]]] = {}
        self._plots: dict[str, GuiUplotHandle] = {}
        self.status = gui.add_markdown("")
        with gui.add_folder("Control"):
            self._pause = self._button("Pause", "P", self._toggle)
            self._button("Single step", "N", self._step_once)
            self.speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
            self.seed = gui.add_number("seed", 0, min=0, step=1)
            self._button("Reset", "R", lambda: self.wishes.put(reset))
        with gui.add_folder("Policy"):
            self.acts = gui.add_checkbox("policy acts", True)
            self._slider = gui.add_slider("checkpoint", 0, 1, 1, 0)
            self._name = gui.add_markdown(first)
        self._policies = [first]
        self._slider.on_update(lambda _: setattr(self._name, "content", self._policies[self.chosen]))
        if pushes:
            with gui.add_folder("Push"):
                for key, (name, push) in zip(PUSH_KEYS, pushes.items(), strict=False):
                    self._button(name, key, lambda push=push: self.wishes.put(push))

    @property
    def chosen(self) -> int:
        """Which of the policies acts."""
        return min(int(self._slider.value), len(self._policies) - 1)

    def add_policy(self, name: str) -> None:
        """Add a policy that is more trained than the others, and go on with it if the last one acted."""
        follows = self.chosen == len(self._policies) - 1
        self._policies.append(name)
        self._slider.max = len(self._policies) - 1
        if follows:
            self._slider.value = self._slider.max

    def add_point(self, plot: str, values: Mapping[str, float]) -> None:
        """Add a point to each line of a plot."""
        lines = self._data.setdefault(plot, {line: deque(maxlen=HISTORY) for line in values})
        for line, value in values.items():
            lines[line].append(value)

    def show(self) -> None:
        """Send the plots of the steps to the page."""
        for name, lines in self._data.items():
            steps = range(len(next(iter(lines.values()))))
            self.show_plot(name, steps, lines)

    def show_plot(self, name: str, x: Sequence[float], lines: Mapping[str, Sequence[float]]) -> None:
        """Send a plot to the page, which has no other of this name."""
        data = tuple(np.array(values, dtype=np.float64) for values in (x, *lines.values()))
        if name in self._plots:
            self._plots[name].data = data
            return
        series = [uplot.Series(label="", show=False)]
        series += [uplot.Series(label=line, stroke=COLORS[i % len(COLORS)], width=2) for i, line in enumerate(lines)]
        self._gui.add_markdown(f"**{name}**")
        self._plots[name] = self._gui.add_uplot(data, tuple(series), scales={"x": uplot.Scale(time=False)}, aspect=2.2)

    def _button(self, label: str, key: Key, act: Act) -> GuiButtonHandle:
        button = self._gui.add_button(f"{label} ({key})")
        button.on_click(lambda _: act())
        self._gui.add_command(label, hotkey=key).on_trigger(lambda _: act())
        return button

    def _toggle(self) -> None:
        self.paused = not self.paused
        self._pause.label = "Go on (P)" if self.paused else "Pause (P)"

    def _step_once(self) -> None:
        if not self.paused:
            self._toggle()
        self.single_step = True
