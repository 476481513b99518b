"""The cartpoles' bodies and joints, changed in each environment by Isaac Lab's own API."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from pipeline.evaluation.cartpole import CART, POLE
from tools.perturbations.factors import CART_FRICTION, FACTORS, GROUPS, LENGTH, MASS, POLE_FRICTION

BODY = "pole"


def per_environment(name: str, size: int, device: str) -> torch.Tensor:
    """Give the value of a factor in each environment, as a tensor ``[groups * size]``; ``size`` is that of a group."""
    values = [value if factor == name else FACTORS[name].neutral for factor, value in GROUPS]
    return torch.tensor(values, device=device).repeat_interleave(size)


def change_bodies(robot: Any, size: int) -> None:
    """Change masses, lengths and frictions of cartpoles, once and for all: a reset does not touch them.

    A longer pole has its centre of mass farther from its joint, and more inertia about it. What does not turn here,
    the inertia about the pole's own axis, stays. A heavier pole has the same shape.

    Args:
        robot: The cartpoles, of ``groups * size`` environments.
        size: Environments of a group.
    """
    data, body = robot.data, [robot.body_names.index(BODY)]
    mass, length = (per_environment(name, size, robot.device) for name in (MASS, LENGTH))
    inertias = data.body_inertia.torch[:, body] * mass[:, None, None]
    inertias[:, :, [0, 4]] *= length[:, None, None] ** 2  # about x and y
    with warnings.catch_warnings(action="ignore"):  # Newton's: it has no orientation there, and adds none
        coms = data.body_com_pose_b.torch[:, body].clone()
    coms[:, :, 2] *= length[:, None]
    robot.set_masses_index(masses=data.body_mass.torch[:, body] * mass[:, None], body_ids=body)
    robot.set_coms_index(coms=coms, body_ids=body)
    robot.set_inertias_index(inertias=inertias, body_ids=body)
    for joint, name in ((CART, CART_FRICTION), (POLE, POLE_FRICTION)):
        _set_friction(robot, joint, per_environment(name, size, robot.device)[:, None])


def _set_friction(robot: Any, joint: str, friction: torch.Tensor) -> None:
    """Set dry friction ``[num_envs, 1]`` [N or N m]; PhysX tells that of rest from that of motion, Newton does not."""
    moving = {"joint_dynamic_friction_coeff": friction} if hasattr(robot.data, "joint_dynamic_friction_coeff") else {}
    ids = [robot.joint_names.index(joint)]
    robot.write_joint_friction_coefficient_to_sim_index(joint_friction_coeff=friction, joint_ids=ids, **moving)


def bodies(robot: Any) -> torch.Tensor:
    """Copy all that :func:`change_bodies` sets of the pole and the joints, ``[num_envs, ...]``."""
    data = robot.data
    values = (data.body_mass, data.body_com_pos_b, data.body_inertia, data.joint_friction_coeff)
    return torch.cat([value.torch.flatten(1) for value in values], dim=1)
