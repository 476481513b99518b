"""Read a model of stock SB3 that may be hostile, and write it as a policy of this project.

SB3's files hold pickles, which name functions and have them called. Here a stand-in takes the place of whatever a
pickle names: nothing is looked up, and nothing is called. ``make import-model`` runs this in a process of its own,
since a file may also be made to take all memory, or all time.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import pickle
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Ppo
from pipeline.experiment.policy_kwargs import OPTIMIZERS
from pipeline.policy.policy import Policy

LARGEST = 1 << 30  # bytes of a file; the largest network that this project builds has 0.4 GB
LIMITS = {
    resource.RLIMIT_DATA: 4 << 30,  # bytes of memory, of which torch takes 1 GB
    resource.RLIMIT_CPU: 120,  # seconds
    resource.RLIMIT_FSIZE: LARGEST,
    resource.RLIMIT_CORE: 0,
}
POLICY = "stable_baselines3.common.policies.ActorCriticPolicy"  # PPO's MlpPolicy
NAMES = (
    POLICY,
    "stable_baselines3.common.vec_env.vec_normalize.VecNormalize",
    "stable_baselines3.common.running_mean_std.RunningMeanStd",
    "(gymnasium|gym).spaces.box.Box",
    "numpy.(dtype|ndarray)",
    "numpy._?core.(multiarray.(_reconstruct|scalar)|numeric._frombuffer)",
    # The random numbers of a space, in which it draws samples
    "numpy.random.(_pcg64.PCG64|_mt19937.MT19937|_pickle.__(bit_generator|generator|randomstate)_ctor)",
    "numpy.random.bit_generator.(SeedSequence|__pyx_unpickle_SeedSequence)",
    "gym.utils.seeding.RandomNumberGenerator(._generator_ctor)?",
    f"torch.nn.modules.activation.({'|'.join(nn.modules.activation.__all__)})",
    *(f"torch.optim.{name.lower()}.{name}" for name in OPTIMIZERS),
)
ALLOWED = re.compile("|".join(NAMES).replace(".", r"\."))


class Named:
    """Stands for what a pickle names, and keeps the arguments and the state that the pickle gives it."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> Named:
        """Keep the arguments."""
        self = super().__new__(cls)
        self.arguments = arguments
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Unpickler(pickle.Unpickler):
    """Builds plain values, and :class:`Named` for the names that are allowed."""

    def find_class(self, module: str, name: str) -> type[Named]:
        """Make a stand-in; nothing is imported."""
        path = f"{module}.{name}"
        if not ALLOWED.fullmatch(path):
            raise ValueError(f"it names {path!r:.200}, and only a PPO with MlpPolicy on flat Boxes is read here")
        return type(name, (Named,), {"name": path})


def unpickle(content: bytes) -> Any:
    """Read a pickle as plain values and stand-ins."""
    return Unpickler(io.BytesIO(content)).load()


def main() -> None:
    """Read ``model.zip`` and the pickle of its VecNormalize (or an empty name) for a task; write into a folder."""
    for kind, most in LIMITS.items():
        resource.setrlimit(kind, (most, most))
    model, statistics, task, folder = sys.argv[1:]
    read(Path(model), Path(statistics) if statistics else None, task).save(Path(folder))


def read(model: Path, statistics: Path | None, task: str) -> Policy:
    """Read a model of SB3's PPO, and the statistics of its VecNormalize if it has one.

    Raises:
        UserError: If they cannot be read, or are of a kind that this project's policies cannot be.
    """
    normalize = None
    if statistics:
        with _explained(statistics):
            _check_size("it", statistics.stat().st_size)
            normalize = _normalize(unpickle(statistics.read_bytes()))
    with _explained(model), zipfile.ZipFile(model) as archive:
        for name in ("data", "policy.pth"):
            _check_size(name, archive.getinfo(name).file_size)
        return _policy(json.loads(archive.read("data")), _weights(archive.read("policy.pth")), normalize, task)


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn whatever a stranger's file raises into one sentence of printable letters."""
    try:
        yield
    except UserError as error:
        reason = str(error).removeprefix("the policy: ").partition("; nothing was saved")[0]
    except ValueError as error:
        reason = str(error)
    except Exception as error:
        reason = f"it is not as SB3 writes it ({error or type(error).__name__})"
    else:
        return
    printable = "".join(letter if letter.isprintable() else " " for letter in reason)
    raise UserError(f"import-model: {file} cannot be imported: {printable}")


def _check_size(name: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{name} has {size} bytes, and at most {LARGEST} are read")


def _weights(content: bytes) -> Any:
    with contextlib.suppress(pickle.UnpicklingError):  # which advises to let the file run what it likes
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    raise ValueError("policy.pth holds something other than weights")


def _normalize(stats: Named) -> Any:
    """Build what has the settings and the statistics of a VecNormalize."""
    moments = {name: stats.state[name].state for name in ("obs_rms", "ret_rms") if name in stats.state}
    arrays = {name: {key: _array(value) for key, value in state.items()} for name, state in moments.items()}
    return SimpleNamespace(**stats.state | {name: SimpleNamespace(**values) for name, values in arrays.items()})


def _policy(data: dict[str, Any], weights: Any, normalize: Any, task: str) -> Policy:
    """Build the policy from the parts of ``model.zip``."""
    if getattr(_entry(data, "policy_class"), "name", None) != POLICY or not {"clip_range", "n_epochs"} <= data.keys():
        raise ValueError("it is no PPO with MlpPolicy")
    if not normalize and data.get("_last_original_obs") is not None:
        raise ValueError("it was trained in a VecNormalize, whose statistics it needs (STATS=vecnormalize.pkl)")
    model: Any = SimpleNamespace(
        get_parameters=lambda: {"policy": weights},
        observation_space=_box(_entry(data, "observation_space")),
        action_space=_box(_entry(data, "action_space")),
        num_timesteps=data["num_timesteps"],
        seed=data.get("seed"),
    )
    return Policy.from_sb3(model, normalize, task, _agent(data))


def _entry(data: dict[str, Any], name: str) -> Any:
    """Read an entry of SB3's JSON, which has a pickle in place of what JSON has not."""
    value = data.get(name)
    if isinstance(value, dict) and ":serialized:" in value:
        return unpickle(base64.b64decode(value[":serialized:"]))
    return value


def _agent(data: dict[str, Any]) -> dict[str, Any]:
    """Read PPO's arguments as plain values; schedules that are functions are left out."""
    arguments = {name: data[name] for name in Ppo.model_fields if name in data and not isinstance(data[name], dict)}
    policy_kwargs = _plain(_entry(data, "policy_kwargs"))
    if isinstance(layers := policy_kwargs.get("net_arch"), list) and [type(layer) for layer in layers] == [dict]:
        policy_kwargs["net_arch"] = layers[0]  # SB3 before 1.8
    given = {name: value for name, value in arguments.items() if value is not None}
    return given | {"policy": "MlpPolicy", "policy_kwargs": policy_kwargs}


def _plain(value: Any) -> Any:
    """Turn classes of torch into their names, and tuples into lists, as JSON has them."""
    if isinstance(value, type) and issubclass(value, Named):
        return f"{'nn' if value.name.startswith('torch.nn') else 'optim'}.{value.__name__}"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _box(space: Any) -> Box:
    if not isinstance(space, Named) or type(space).__name__ != "Box":
        raise ValueError("a space of it is no Box")
    low, high = (_array(space.state[bound]) for bound in ("low", "high"))
    return Box(low, high, dtype=low.dtype.type)


def _array(value: Any) -> np.ndarray:
    """Build the array, or the number, that a pickle of numpy's describes in one of its forms."""
    order, shape = "C", ()
    if not isinstance(value, Named):
        return np.array(float(value))
    if type(value).__name__ == "_reconstruct":
        _, shape, dtype, is_fortran, content = value.state
        order = "F" if is_fortran else "C"
    elif type(value).__name__ == "_frombuffer":
        content, dtype, shape, order = value.arguments
    else:
        dtype, content = value.arguments  # a scalar
    kind, byte_order = dtype.arguments[0], dtype.state[1]
    if kind not in ("f4", "f8"):
        raise ValueError(f"its numbers are of the kind {kind!r:.20}, and not float32 or float64")
    return np.frombuffer(content, f"{byte_order}{kind}").reshape(shape, order=order)


if __name__ == "__main__":
    main()
