"""A camera beside each environment, drawn by Newton's ray tracer, which needs neither a display nor a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from isaaclab.assets import AssetBaseCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim import PinholeCameraCfg, UsdFileCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from isaaclab_rl.sb3 import Sb3VecEnvWrapper
from tqdm import trange

from pipeline.errors import UserError
from pipeline.evaluation import CART, POLE, Actor, cartpole, reset, step
from pipeline.params import Camera, Render
from pipeline.video import tile

STUDIO = Path("assets/studio.usda")
SKY = (0.93, 0.94, 0.96)
SPACING = 20.0  # m between environments, so that none stands in another's picture
POLE_LENGTH = 0.97  # m from its joint to its tip
CART_HALF_WIDTH = 0.125  # m
RAIL_HEIGHT = 2.0  # m above the environment's origin
FILM_WIDTH = 20.955  # mm


def add_camera(cfg: Any, camera: Camera, *, width: int, height: int) -> None:
    """Put a camera, and a studio for it to look at, beside every environment of ``cfg``; its pictures in pixels."""
    cfg.scene.env_spacing = SPACING
    cfg.scene.studio = AssetBaseCfg(prim_path="{ENV_REGEX_NS}/Studio", spawn=UsdFileCfg(usd_path=str(STUDIO)))
    cfg.scene.camera = CameraCfg(
        prim_path="{ENV_REGEX_NS}/Camera",
        offset=CameraCfg.OffsetCfg(pos=camera.eye, rot=looking_at(camera), convention="world"),
        data_types=["rgb"],
        width=width,
        height=height,
        spawn=PinholeCameraCfg(
            focal_length=camera.focal_length, horizontal_aperture=FILM_WIDTH, clipping_range=(0.1, 60.0)
        ),
        background_color=SKY,
        renderer_cfg=NewtonWarpRendererCfg(enable_shadows=True),
    )


def looking_at(camera: Camera) -> tuple[float, float, float, float]:
    """The rotation (x, y, z, w) that turns a camera, which looks along +x with +z up, from its eye to its target."""
    x, y, z = (end - start for start, end in zip(camera.eye, camera.target, strict=True))
    yaw, pitch = math.atan2(y, x) / 2, -math.atan2(z, math.hypot(x, y)) / 2
    return (
        -math.sin(yaw) * math.sin(pitch),
        math.cos(yaw) * math.sin(pitch),
        math.sin(yaw) * math.cos(pitch),
        math.cos(yaw) * math.cos(pitch),
    )


def record(env: Sb3VecEnvWrapper, actor: Actor, settings: Render) -> Iterator[np.ndarray]:
    """Play episodes in front of the cameras.

    Args:
        env: Running environments with :func:`add_camera`'s camera.
        actor: From observations to actions.
        settings: ``render``.

    Yields:
        Frames, uint8 ``[height, width, 3]``, of all environments as tiles.

    Raises:
        UserError: If ``render.fps`` does not divide the steps a second, or a cartpole leaves the picture.
    """
    every = steps_per_frame(settings.fps, env.unwrapped.step_dt)
    length = settings.length or env.unwrapped.max_episode_length
    observations = reset(env)
    for number in trange(settings.episodes * length, desc="render", unit="step"):
        if number and number % length == 0:
            observations = reset(env)
        if number % every == 0:
            check_view(env, settings)
            yield tile(take_pictures(env))
        observations = step(env, actor(observations)).observations


def take_pictures(env: Sb3VecEnvWrapper) -> np.ndarray:
    """What the cameras see now: uint8 ``[num_envs, height, width, 3]``."""
    return env.unwrapped.scene["camera"].data.output["rgb"].torch.cpu().numpy()[..., :3]


def steps_per_frame(fps: int, step_dt: float) -> int:
    """How many steps of the environment [s] a frame lasts, if the video is to run at the speed of life."""
    rate = round(1 / step_dt)
    if rate % fps:
        raise UserError(f"render.fps should divide the task's {rate} steps a second (given: {fps})")
    return rate // fps


def check_view(env: Sb3VecEnvWrapper, settings: Render) -> None:
    """Refuse a camera that does not see the whole of a cartpole.

    Raises:
        UserError: If an end of the cart or of the pole lies outside the picture.
    """
    robot = cartpole(env)
    if robot is None:
        return
    position = robot.data.joint_pos.torch.double().cpu()
    y, angle = (position[:, robot.joint_names.index(name)] for name in (CART, POLE))
    x = torch.zeros_like(y)
    ends = [(x, y + side, x + RAIL_HEIGHT) for side in (-CART_HALF_WIDTH, CART_HALF_WIDTH)]
    # The pole turns about x: its tip moves towards -y as its angle grows.
    ends.append((x, y - POLE_LENGTH * angle.sin(), RAIL_HEIGHT + POLE_LENGTH * angle.cos()))
    for end in ends:
        if not in_view(torch.stack(end, dim=-1), settings).all():
            raise UserError(
                "the cartpole leaves the picture; move render.camera.eye away or lower render.camera.focal_length"
            )


def in_view(points: torch.Tensor, settings: Render) -> torch.Tensor:
    """Whether points [m] in the environment's frame, ``[n, 3]``, lie in the picture: bool ``[n]``."""
    camera = settings.camera
    eye, target = torch.tensor(camera.eye, dtype=torch.float64), torch.tensor(camera.target, dtype=torch.float64)
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]).double()), dim=0)
    up = torch.linalg.cross(right, forward)
    depth = (points - eye) @ forward
    half_width = FILM_WIDTH / 2 / camera.focal_length * depth
    across, above = ((points - eye) @ axis for axis in (right, up))
    return (depth > 0) & (across.abs() <= half_width) & (above.abs() <= half_width * settings.height / settings.width)
