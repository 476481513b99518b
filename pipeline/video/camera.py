"""A camera beside each environment, drawn by Newton's ray tracer, which needs neither a display nor a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from isaaclab.assets import AssetBaseCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim import PinholeCameraCfg, UsdFileCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from tqdm import trange

from pipeline.experiment.params import Camera, Render
from pipeline.experiment.paths import CARTPOLE, STUDIO
from pipeline.simulation.tensor_env import PolicyFn, TensorEnv
from pipeline.video.encode import average_down, check_size, steps_per_frame, tile
from pipeline.video.framing import FILM_WIDTH, SIGHT, check_cartpole_in_view, check_target, yaw_and_pitch

SKY = (0.93, 0.94, 0.96)
# Rays along each side of a pixel of the video, since the renderer smooths no edges. They take most of the time.
SAMPLES = 2


def check(cfg: Any, settings: Render) -> None:
    """Refuse a video that could not be made, before anything is simulated.

    Raises:
        UserError: If ``render.fps`` does not divide the steps a second, the video is too large, the camera's target is
            nearer or farther than it sees, or it misses the cartpole.
    """
    step_dt = cfg.sim.dt * cfg.decimation
    every = steps_per_frame(settings.fps, step_dt)
    steps = settings.episodes * (settings.length or math.ceil(cfg.episode_length_s / step_dt))
    check_size(math.ceil(steps / every), settings.num_envs, settings.height, settings.width)
    check_target(settings.camera, "render.camera")
    if shows_cartpole(cfg.scene):
        check_cartpole_in_view(settings)


def add_camera(cfg: Any, camera: Camera, *, width: int, height: int, samples: int = 1) -> None:
    """Put a camera beside every environment of ``cfg``, and the studio around the project's cartpole.

    Each sees the prims of its own environment alone, however near the others stand.

    Args:
        cfg: The configuration of the environments.
        camera: Where the cameras stand and look.
        width: Pixels of a frame.
        height: Pixels of a frame.
        samples: Rays along each side of a pixel, for :func:`capture_frames` to average.
    """
    if shows_cartpole(cfg.scene):
        cfg.scene.studio = AssetBaseCfg(prim_path="{ENV_REGEX_NS}/Studio", spawn=UsdFileCfg(usd_path=str(STUDIO)))
    cfg.scene.camera = CameraCfg(
        prim_path="{ENV_REGEX_NS}/Camera",
        offset=CameraCfg.OffsetCfg(pos=camera.eye, rot=looking_at(camera), convention="world"),
        data_types=["rgb"],
        width=samples * width,
        height=samples * height,
        spawn=PinholeCameraCfg(focal_length=camera.focal_length, horizontal_aperture=FILM_WIDTH, clipping_range=SIGHT),
        background_color=SKY,
        renderer_cfg=NewtonWarpRendererCfg(enable_shadows=True),
    )


def shows_cartpole(scene: Any) -> bool:
    """Tell whether the project's cartpole is in the scene's configuration."""
    spawns = (getattr(item, "spawn", None) for item in vars(scene).values())
    return str(CARTPOLE) in [getattr(spawn, "usd_path", None) for spawn in spawns]


def looking_at(camera: Camera) -> tuple[float, float, float, float]:
    """Compute the rotation (x, y, z, w) that turns a camera, which looks along +x with +z up, to its target."""
    yaw, pitch = yaw_and_pitch(camera)
    yaw, pitch = yaw / 2, -pitch / 2  # a quaternion has half the angles, and turns downwards about +y
    return (
        -math.sin(yaw) * math.sin(pitch),
        math.cos(yaw) * math.sin(pitch),
        math.sin(yaw) * math.cos(pitch),
        math.cos(yaw) * math.cos(pitch),
    )


def record(env: TensorEnv, act: PolicyFn, settings: Render) -> Iterator[np.ndarray]:
    """Play episodes in front of the cameras.

    Args:
        env: Running environments with :func:`add_camera`'s camera.
        act: From observations to actions.
        settings: ``render``.

    Yields:
        Frames, uint8 ``[height, width, 3]``, of all environments as tiles.
    """
    every = steps_per_frame(settings.fps, env.unwrapped.step_dt)
    for number in play(env, act, settings):
        if number % every == 0:
            yield tile(capture_frames(env, settings.camera, SAMPLES))


def play(env: TensorEnv, act: PolicyFn, settings: Render) -> Iterator[int]:
    """Play the episodes of ``render``, one after another in every environment; yields the number of each step."""
    length = settings.length or env.unwrapped.max_episode_length
    observations = env.reset_twice()
    for number in trange(settings.episodes * length, desc="play", unit="step"):
        if number and number % length == 0:
            observations = env.reset_twice()
        yield number
        observations = env.step(act(observations))[0]


def capture_frames(env: TensorEnv, camera: Camera, samples: int = 1) -> np.ndarray:
    """Capture what cameras with ``samples`` rays a side see now: uint8 ``[num_envs, height, width, 3]``."""
    if camera.follow:
        _follow(env, camera)
    pictures = env.unwrapped.scene["camera"].data.output["rgb"].torch.cpu().numpy()[..., :3]
    return average_down(pictures, samples)


def _follow(env: TensorEnv, camera: Camera) -> None:
    """Move the cameras to where ``camera`` has them from the robots, but for the height: a robot may hop."""
    scene = env.unwrapped.scene
    robot = next(iter(scene.articulations.values()))
    below = robot.data.root_pos_w.torch.clone()
    below[:, 2] = scene.env_origins[:, 2]
    eye, target = (below + torch.tensor(point, device=below.device) for point in (camera.eye, camera.target))
    scene["camera"].set_world_poses_from_view(eye, target)
