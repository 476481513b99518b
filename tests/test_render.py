"""The render stage, from a policy to a video, on the real simulator."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from pipeline.video.encode import GAP
from tests.conftest import Project

pytestmark = pytest.mark.sim

NAMES = ("policy.mp4", "policy.gif", "film_strip.png")


def decode(path, *, height: int, width: int) -> np.ndarray:
    """The frames of a video: int16 ``[frames, height, width, 3]``."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3).astype(np.int16)


def test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again(project: Project):
    """Two environments, side by side, whose episodes of 8 steps are drawn in 2 frames each."""
    try:
        project.edit_params({"render": {"episodes": 2, "num_envs": 2, "length": 8, "fps": 15}})
        videos = []
        for _ in range(2):
            project.run("python", "-m", "stages.render")
            videos.append({name: (project.folder / "videos" / name).read_bytes() for name in NAMES})
        frames = decode(project.folder / "videos" / NAMES[0], height=90, width=160 + GAP + 160)
    finally:
        project.run("git", "checkout", "--quiet", "--", ".")
        project.run("dvc", "checkout", "--force")
    assert videos[0] == videos[1]
    assert len(frames) == 4
    assert frames.mean() > 100
    red, green, blue = np.moveaxis(frames, -1, 0)
    cart, pole = (blue > red + 50), (red > blue + 50) & (green > blue + 20)
    for tile in (slice(0, 160), slice(-160, None)):
        for part in (cart, pole):
            assert (part[:, :, tile].sum(axis=(1, 2)) >= 8).all()
    assert np.abs(frames[:, :, :160] - frames[:, :, -160:]).max() > 100, "both environments start alike"
    assert (np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)) > 50).all(), "nothing moves"


def test_another_seed_gives_another_video(project: Project):
    try:
        project.edit_params({"render": {"seed": 8}})
        project.run("python", "-m", "stages.render")
        frames = decode(project.folder / "videos" / NAMES[0], height=90, width=160)
        project.run("dvc", "checkout", "--force")
        committed = decode(project.folder / "videos" / NAMES[0], height=90, width=160)
    finally:
        project.run("git", "checkout", "--quiet", "--", ".")
        project.run("dvc", "checkout", "--force")
    assert frames.shape == committed.shape
    assert np.abs(frames[0] - committed[0]).max() > 100, "the cart starts elsewhere"


def test_a_camera_that_misses_the_cartpole_is_refused_in_one_sentence(project: Project):
    try:
        project.edit_params(
            {"render": {"camera": {"follow": False, "eye": [3.0, 0.0, 3.3], "target": [0, 0, 2], "focal_length": 24}}}
        )
        result = project.run("python", "-m", "stages.render", check=False)
    finally:
        project.run("git", "checkout", "--quiet", "--", ".")
    assert result.returncode == 1
    assert "\nrender: render.camera does not see the cartpole" in f"\n{result.stderr}"
    assert "environments of" not in result.stdout, "the simulator was started"
