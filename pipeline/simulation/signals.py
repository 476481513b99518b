"""What the numbers in observations and actions mean: names, units, scales, directions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
import warp as wp
from isaaclab.sim import find_first_matching_prim
from pxr import Gf, Usd, UsdGeom, UsdPhysics

from pipeline.simulation.tensor_env import TensorEnv

Signal = dict[str, Any]

# The units of Isaac Lab's observations and actions: of joints, one that slides and one that turns; then of bodies.
JOINT_UNITS = {
    "joint_pos": ("m", "rad"),
    "joint_pos_rel": ("m", "rad"),
    "joint_vel": ("m/s", "rad/s"),
    "joint_vel_rel": ("m/s", "rad/s"),
    "joint_effort": ("N", "N m"),
    "JointEffortAction": ("N", "N m"),
    "JointPositionAction": ("m", "rad"),
    "JointVelocityAction": ("m/s", "rad/s"),
}
BODY_UNITS = {
    "base_pos_z": "m",
    "base_lin_vel": "m/s",
    "base_ang_vel": "rad/s",
    "root_pos_w": "m",
    "root_lin_vel_w": "m/s",
    "root_ang_vel_w": "rad/s",
}
# What is subtracted from a joint's value, in the data of its robot.
SUBTRACTED = {"joint_pos_rel": "default_joint_pos", "joint_vel_rel": "default_joint_vel"}


class Joint(NamedTuple):
    """A joint as the robot's USD file has it."""

    slides: bool  # else it turns
    axis: list[float]  # where the positive direction points at the start, in the frame of the environment


def describe_signals(env: TensorEnv) -> dict[str, Any]:
    """Describe observations and actions, in the form of :class:`pipeline.policy.schema.Signals`.

    Of what this module does not know, such as a term of one's own, and of tasks of the direct workflow, only the order
    is told.

    Args:
        env: Running environments.
    """
    task, space, action_space = env.task, cast(Any, env.observation_space), cast(Any, env.action_space)
    managed = hasattr(task, "observation_manager")
    observations = list(_observations(task)) if managed else []
    actions = list(_actions(task)) if managed else []
    return {
        "rate": round(1 / task.step_dt, 6),
        "observations": _or_numbered(observations, "observation", space.shape[0]),
        "actions": _or_numbered(actions, "action", action_space.shape[0]),
    }


def _or_numbered(signals: list[Signal], name: str, count: int) -> list[Signal]:
    return signals if len(signals) == count else list(_numbered(name, [1.0] * count))


def _numbered(name: str, scales: list[float], unit: str | None = None) -> Iterator[Signal]:
    for number, scale in enumerate(scales):
        yield _signal(name if len(scales) == 1 else f"{name}.{number}", unit, scale)


def _signal(name: str, unit: str | None, scale: float, offset: float = 0.0, axis: list[float] | None = None) -> Signal:
    return {"name": name, "unit": unit, "scale": round(scale, 6), "offset": round(offset, 6), "axis": axis}


def _observations(task: Any) -> Iterator[Signal]:
    """Describe each observation of the group ``policy``, in order."""
    manager = task.observation_manager
    terms = zip(manager.active_terms["policy"], manager.group_obs_term_dim["policy"], strict=True)
    for (name, shape), cfg in zip(terms, manager._group_obs_term_cfgs["policy"], strict=True):
        function = getattr(cfg.func, "__name__", "")
        scales = _each(1.0 if cfg.scale is None else cfg.scale, math.prod(shape))
        if function not in JOINT_UNITS:
            yield from _numbered(name, scales, BODY_UNITS.get(function))
            continue
        robot, joints = _observed_joints(task, cfg.params.get("asset_cfg"))
        if len(joints) != len(scales):  # of several steps
            yield from _numbered(name, scales)
            continue
        found = _joints(task, robot)
        offsets = _each(getattr(robot.data, SUBTRACTED[function]).torch if function in SUBTRACTED else 0.0, len(found))
        for joint, scale in zip(joints, scales, strict=True):
            offset = offsets[robot.joint_names.index(joint)]
            yield _of_joint(f"{name}.{joint}", function, found[joint], scale, offset)


def _observed_joints(task: Any, entity: Any) -> tuple[Any, list[str]]:
    """Find the robot that a term observes, and the names of the joints."""
    robot = task.scene[entity.name if entity else "robot"]
    chosen = entity.joint_ids if entity else slice(None)
    names = robot.joint_names
    return robot, names[chosen] if isinstance(chosen, slice) else [names[index] for index in chosen]


def _actions(task: Any) -> Iterator[Signal]:
    """Describe each action, in order."""
    for name in task.action_manager.active_terms:
        term = task.action_manager.get_term(name)
        kind = type(term).__name__
        if kind not in JOINT_UNITS:
            yield from _numbered(name, [1.0] * term.action_dim)
            continue
        found = _joints(task, term._asset)
        scales, offsets = (_each(value, term.action_dim) for value in (term._scale, term._offset))
        for joint, scale, offset in zip(term._joint_names, scales, offsets, strict=True):
            yield _of_joint(f"{name}.{joint}", kind, found[joint], scale, offset)


def _each(value: Any, count: int) -> list[float]:
    """List a factor of each number: Isaac Lab has one for all, one for each, or one for each in each environment."""
    tensor = wp.to_torch(value) if isinstance(value, wp.array) else torch.as_tensor(value)
    return tensor.broadcast_to((*tensor.shape[:-1], count)).reshape(-1, count)[0].tolist()


def _of_joint(name: str, kind: str, joint: Joint | None, scale: float, offset: float) -> Signal:
    if joint is None:
        return _signal(name, None, scale, offset)
    return _signal(name, JOINT_UNITS[kind][0 if joint.slides else 1], scale, offset, joint.axis)


def _joints(task: Any, robot: Any) -> dict[str, Joint | None]:
    """Read the robot's joints by their names, from the first environment; None for one that USD does not have."""
    root = find_first_matching_prim(robot.cfg.prim_path, task.sim.stage)
    found: dict[str, Joint | None] = dict.fromkeys(robot.joint_names)
    for prim in Usd.PrimRange(root, Usd.TraverseInstanceProxies()) if root else ():
        if prim.GetName() in found and (prim.IsA(UsdPhysics.PrismaticJoint) or prim.IsA(UsdPhysics.RevoluteJoint)):
            found[prim.GetName()] = Joint(prim.IsA(UsdPhysics.PrismaticJoint), _axis(prim))
    return found


def _axis(prim: Any) -> list[float]:  # a Usd.Prim, in whose annotations everything may be None
    """Compute where a joint's axis points in the world, or about what it turns."""
    joint: Any = UsdPhysics.Joint(prim)
    letter = prim.GetAttribute("physics:axis").Get()
    direction = joint.GetLocalRot0Attr().Get().Transform(Gf.Vec3f(*(float(other == letter) for other in "XYZ")))
    if bodies := joint.GetBody0Rel().GetTargets():
        body: Any = UsdGeom.Xformable(prim.GetStage().GetPrimAtPath(bodies[0]))
        direction = body.ComputeLocalToWorldTransform(Usd.TimeCode.Default()).TransformDir(direction).GetNormalized()
    return [round(float(number), 4) + 0.0 for number in direction]
