"""Terms of a manager-based task: rewards, terminations, events and the like that the params' section ``env`` adds."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from isaaclab.managers import (
    CurriculumTermCfg,
    EventTermCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.simulation.tracked import find_function

# The sections that take terms, and what a new term must say beside its function. The values here only stand in for it.
SECTIONS: dict[str, tuple[type, dict[str, Any]]] = {
    r"env\.rewards": (RewardTermCfg, {"weight": 0.0}),
    r"env\.terminations": (TerminationTermCfg, {}),
    r"env\.events": (EventTermCfg, {"mode": "reset"}),
    r"env\.curriculum": (CurriculumTermCfg, {}),
    r"env\.observations\.\w+": (ObservationTermCfg, {}),
}


def takes_terms(section: str) -> bool:
    """Tell whether terms can be added to a section of the task's configuration, such as ``env.rewards``."""
    return any(re.fullmatch(pattern, section) for pattern in SECTIONS)


def new_term(section: str, name: str, given: Any, fields: Mapping[str, Any]) -> Any:
    """Make a term with a function alone; what else is ``given`` can then be set as of any other term.

    Raises:
        UserError: If something is missing. A name that is wrong by a letter looks like a new term, too.
    """
    kind, needed = next(term for pattern, term in SECTIONS.items() if re.fullmatch(pattern, section))
    missing = {"func", *needed} - set(given if isinstance(given, Mapping) else ())
    if missing:
        raise UserError(
            f"{section}.{name}: the task has no such term, and a new one needs {' and '.join(sorted(missing))}; "
            f"{did_you_mean(name, fields)}"
        )
    return kind(func=find_function(f"{section}.{name}.func", given["func"]), **needed)


def add_params(term: Any, paths: Iterable[str], here: str) -> None:
    """Give ``term`` the params that its function takes and that it leaves at their defaults, so that they can be set.

    Args:
        term: The term.
        paths: What is to be set, by dotted paths below its params.
        here: Where its params stand, for messages.

    Raises:
        UserError: If the function takes no such param.
    """
    function = find_function(here, str(term.func)) if isinstance(term.func, str) else term.func
    call = function.__call__ if inspect.isclass(function) else function
    taken = {key: param for key, param in inspect.signature(call).parameters.items() if key not in ("self", "env")}
    for name in {path.partition(".")[0] for path in paths} - term.params.keys():
        if name not in taken:
            raise UserError(f"{here}.{name}: {function.__name__} takes no such param; {did_you_mean(name, taken)}")
        term.params[name] = _default(taken[name])


def _default(param: inspect.Parameter) -> Any:
    """Return a param's default; without one, what a mapping can be set in, or None, which anything can replace."""
    if param.default is not inspect.Parameter.empty:
        return copy.deepcopy(param.default)
    return SceneEntityCfg("robot") if "SceneEntityCfg" in str(param.annotation) else None
