"""Isaac Lab's page of a running simulation, which needs neither Kit nor a GPU nor a display."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from isaaclab_visualizers.viser import ViserVisualizerCfg
from viser import CameraHandle, ClientHandle, ViserServer

from pipeline.experiment.params import Camera
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.video.framing import FILM_WIDTH

PHONE = 0.75  # width of a picture over its height, below which the controls lie over its lower half
AROUND = 2.0  # m about the outermost environment that should be seen, too
HOST = "127.0.0.1"  # and not the network: whoever reaches the page plays


def show_on_a_page(cfg: Any, num_envs: int, camera: Camera, port: int = 8080) -> None:
    """Let the simulation of ``cfg`` serve a page on this machine alone, at ``port`` or, if that is taken, the next."""
    cfg.sim.visualizer_cfgs = [
        ViserVisualizerCfg(
            port=port,
            bind_address=HOST,
            verbose=False,
            eye=camera.eye,
            lookat=camera.target,
            max_visible_envs=num_envs,
            randomly_sample_visible_envs=False,
        )
    ]


def server_of(env: TensorEnv, camera: Camera) -> Any:
    """Find the page's server, and let whoever opens the page look as ``camera`` does."""
    visualizer: Any = env.unwrapped.sim.visualizers[0]
    server = visualizer._viewer._server
    server.initial_camera.position, server.initial_camera.look_at = camera.eye, camera.target
    server.initial_camera.fov = 2 * math.atan(FILM_WIDTH / 2 / camera.focal_length * 9 / 16)  # rad, from top to bottom
    return server


def look_at_all(server: ViserServer, env: TensorEnv, camera: Camera) -> None:
    """Let each browser look as ``camera`` does, from so far that its picture is wide enough for all environments.

    A browser is sent to the eye of ``camera`` at some time of its start, and knows the width of its picture later. So
    it is sent on until somebody has moved it.
    """
    origins = env.task.scene.env_origins.cpu().numpy()
    middle, eye, target = origins.mean(axis=0), np.array(camera.eye), np.array(camera.target)
    reach = np.linalg.norm(origins - middle, axis=1).max() + AROUND

    @server.on_client_connect
    def look(client: ClientHandle) -> None:
        sent = eye

        def step_back(seen: CameraHandle) -> None:
            nonlocal sent
            scale = max(1, reach / math.tan(seen.fov / 2) / seen.aspect / np.linalg.norm(eye - target))
            position = middle + target + scale * (eye - target)
            untouched = any(np.allclose(seen.position, place, atol=0.01) for place in (eye, sent))
            if untouched and not np.allclose(seen.position, position, atol=0.01):
                shift = scale if seen.aspect < PHONE else 0.0  # m, upwards in the picture
                seen.position, seen.look_at, sent = position, middle + target - (0, 0, shift), position

        client.camera.fov = server.initial_camera.fov
        client.camera.on_update(step_back)
        step_back(client.camera)
