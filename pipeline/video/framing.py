"""Framing: whether the cartpole is in the picture, by geometry alone, before anything is simulated."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Camera, Render

FILM_WIDTH = 20.955  # mm
SIGHT = (0.1, 60.0)  # m before the camera, nearest and farthest
RAIL_HEIGHT = 2.0  # m above the environment's origin
CART_REACH = 3.125  # m along y: an episode ends when the cart's centre is at 3 m, and the cart is 0.25 m wide
POLE_LENGTH = 0.97  # m from its joint to its tip
POLE_FRONT = 0.14  # m in front of the rail


def check_cartpole_in_view(settings: Render) -> None:
    """Refuse a camera that misses a part of the rail that the cart may be on, or of a pole that stands upright there.

    A pole that falls may leave the picture: a bad policy is worth seeing too.

    Raises:
        UserError: If an end of that range lies outside the picture.
    """
    heights = (RAIL_HEIGHT, RAIL_HEIGHT + POLE_LENGTH)
    corners = np.array(list(product((POLE_FRONT,), (-CART_REACH, CART_REACH), heights)))
    if not in_view(corners, settings).all():
        raise UserError(
            "render.camera does not see the cartpole all along its rail; "
            "move render.camera.eye away, lower render.camera.focal_length or mend render.camera.target"
        )


def check_target(camera: Camera, name: str) -> None:
    """Refuse a camera, that of the param ``name``, with a target that is nearer or farther than what it sees."""
    nearest, farthest = SIGHT
    if not nearest <= math.dist(camera.eye, camera.target) <= farthest:
        raise UserError(
            f"{name}.target should be {nearest} to {farthest} m from {name}.eye, as far as it sees "
            f"(given: {camera.target}, from {camera.eye})"
        )


def in_view(points: np.ndarray, settings: Render) -> np.ndarray:
    """Tell whether points [m] in the environment's frame, ``[n, 3]``, lie in the picture: bool ``[n]``."""
    yaw, pitch = yaw_and_pitch(settings.camera)
    forward = (math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch))
    right = (math.sin(yaw), -math.cos(yaw), 0.0)
    up = (-math.sin(pitch) * math.cos(yaw), -math.sin(pitch) * math.sin(yaw), math.cos(pitch))
    depth, across, above = ((points - settings.camera.eye) @ np.array(axis) for axis in (forward, right, up))
    half_width = FILM_WIDTH / 2 / settings.camera.focal_length * depth
    half_height = half_width * settings.height / settings.width
    distance = np.linalg.norm(points - settings.camera.eye, axis=1)
    in_sight = (depth > 0) & (distance >= SIGHT[0]) & (distance <= SIGHT[1])
    return in_sight & (np.abs(across) <= half_width) & (np.abs(above) <= half_height)


def yaw_and_pitch(camera: Camera) -> tuple[float, float]:
    """Compute how far [rad] the camera turns from +x to the left, and then up, to face its target."""
    x, y, z = (end - start for start, end in zip(camera.eye, camera.target, strict=True))
    return math.atan2(y, x), math.atan2(z, math.hypot(x, y))
