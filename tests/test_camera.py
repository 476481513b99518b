"""Where the cameras look, and when they take a picture: by geometry and by counting, without a simulator."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Camera, Render, TrainVideo
from pipeline.experiment.params_file import load_params
from pipeline.training import clips
from pipeline.video import camera, framing
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

RENDER = load_params(ROOT / "params.yaml").render
CAMERA = Camera(follow=False, eye=(8.0, 0.0, 3.3), target=(0.0, 0.0, 1.95), focal_length=24.0)
CAMERAS = [
    {"eye": (8.0, 0.0, 3.3), "target": (0.0, 0.0, 1.95)},
    {"eye": (1.0, 2.0, 3.0), "target": (4.0, -1.0, 2.0)},
    {"eye": (-2.0, -3.0, 0.5), "target": (-1.0, 5.0, 4.0)},
]


@pytest.mark.parametrize("given", CAMERAS, ids=str)
def test_a_camera_is_turned_to_its_target_and_stays_upright(given: dict[str, Any]):
    rotation = Rotation.from_quat(
        camera.looking_at(Camera(**given, follow=False, focal_length=24.0))
    )  # x, y, z, w, as here
    towards = np.subtract(given["target"], given["eye"])
    np.testing.assert_allclose(rotation.apply([1, 0, 0]), towards / np.linalg.norm(towards), atol=1e-12)
    assert rotation.apply([0, 1, 0])[2] == pytest.approx(0.0, abs=1e-12)
    assert rotation.apply([0, 0, 1])[2] > 0


def test_what_is_in_view_ends_at_the_edges_of_the_film():
    # At 10 m, a film of 20.955 mm behind 20.955 mm shows 10 m across, and at 2:1 five metres of height.
    asked = Camera(follow=False, eye=(10.0, 1.0, 2.0), target=(0.0, 1.0, 2.0), focal_length=20.955)
    render = RENDER.model_copy(update={"camera": asked, "width": 200, "height": 100})
    points = [(0, 1, 2), (0, 5.99, 2), (0, 6.01, 2), (0, -3.99, 2), (0, -4.01, 2), (0, 1, 4.49), (0, 1, 4.51)]
    points += [(0, 1, -0.49), (0, 1, -0.51), (11, 1, 2), (5, 3.49, 2), (5, 3.51, 2)]
    seen = [True, True, False, True, False, True, False, True, False, False, True, False]
    assert framing.in_view(np.array(points, dtype=float), render).tolist() == seen


@pytest.mark.parametrize("height", [2.0, 2.97], ids=["of the rail", "of the pole's tip"])
@pytest.mark.parametrize(
    ("focal_length", "pixels", "seen"), [(33.0, 150, True), (33.1, 150, False), (33.0, 148, False)]
)
def test_the_cart_at_the_ends_of_its_way_and_an_upright_pole_are_in_view(height, focal_length, pixels, seen):
    # From 9.86 m before the pole, half the width is 20.955 / 2 / 33 * 9.86 = 3.130 m for the 3.125 m of the cart's way;
    # of that, 150 / 480 are 0.978 m for the 0.97 m of the pole, and 148 / 480 are 0.965 m.
    asked = Camera(follow=False, eye=(10.0, 0.0, height), target=(0.0, 0.0, height), focal_length=focal_length)
    render = RENDER.model_copy(update={"camera": asked, "width": 480, "height": pixels})
    if seen:
        framing.check_cartpole_in_view(render)
    else:
        with pytest.raises(UserError, match="does not see the cartpole all along its rail"):
            framing.check_cartpole_in_view(render)


@pytest.mark.parametrize("aside", [0.01, -0.01])
def test_both_ends_of_the_carts_way_are_in_view(aside: float):
    asked = Camera(follow=False, eye=(10.0, aside, 2.0), target=(0.0, aside, 2.0), focal_length=33.0)
    with pytest.raises(UserError, match="does not see the cartpole all along its rail"):
        framing.check_cartpole_in_view(RENDER.model_copy(update={"camera": asked, "width": 480, "height": 150}))


def test_the_camera_beside_each_environment_is_as_asked_for():
    cfg: Any = SimpleNamespace(scene=SimpleNamespace(robot=with_asset("assets/cartpole.usda")))
    asked = Camera(follow=False, eye=(8.0, 0.0, 3.3), target=(0.0, 0.0, 1.95), focal_length=30.0)
    camera.add_camera(cfg, asked, width=100, height=60, samples=3)
    placed = cfg.scene.camera
    assert (placed.width, placed.height, placed.data_types) == (300, 180, ["rgb"])
    assert (placed.offset.pos, placed.offset.convention) == ((8.0, 0.0, 3.3), "world")
    assert placed.offset.rot == camera.looking_at(asked)
    assert (placed.spawn.focal_length, placed.spawn.horizontal_aperture) == (30.0, 20.955)
    assert cfg.scene.studio.spawn.usd_path == "assets/studio.usda"
    assert {cfg.scene.studio.prim_path, placed.prim_path} == {"{ENV_REGEX_NS}/Studio", "{ENV_REGEX_NS}/Camera"}


def test_another_robot_has_no_studio_around_it():
    cfg: Any = SimpleNamespace(scene=SimpleNamespace(robot=with_asset("/ant.usd"), light=None))
    camera.add_camera(cfg, CAMERA, width=100, height=60)
    assert set(vars(cfg.scene)) == {"robot", "light", "camera"}


def with_asset(path: str) -> Any:
    return SimpleNamespace(spawn=SimpleNamespace(usd_path=path))


@pytest.mark.parametrize("follow", [True, False])
def test_a_camera_that_follows_is_moved_with_the_robot_but_not_up_and_down(follow: bool):
    moved: list[Any] = []
    pictures = SimpleNamespace(output={"rgb": SimpleNamespace(torch=torch.zeros(2, 2, 2, 4, dtype=torch.uint8))})
    placed = SimpleNamespace(data=pictures, set_world_poses_from_view=lambda *poses: moved.extend(poses))
    robot = SimpleNamespace(
        data=SimpleNamespace(root_pos_w=SimpleNamespace(torch=torch.tensor([[3.0, -1, 0.7], [9, 20, 5]])))
    )
    scene = Scene(camera=placed)
    scene.articulations, scene.env_origins = {"robot": robot}, torch.tensor([[1.0, -1.0, 0.0], [9.0, 9.0, 2.5]])
    asked = CAMERA.model_copy(update={"follow": follow, "eye": (4.0, 0.0, 3.0), "target": (0.5, 0.0, 1.0)})
    camera.capture_frames(SimpleNamespace(unwrapped=SimpleNamespace(scene=scene)), asked)  # type: ignore[arg-type]
    eye, target = moved or (None, None)
    assert (eye is None) != follow
    if eye is not None and target is not None:
        assert eye.tolist() == [[7.0, -1.0, 3.0], [13.0, 20.0, 5.5]]
        assert target.tolist() == [[3.5, -1.0, 1.0], [9.5, 20.0, 3.5]]
    assert robot.data.root_pos_w.torch[0, 2] == pytest.approx(0.7), "the simulator's own numbers stay as they are"


class Scene(dict):
    """A scene whose sensors go by their names."""

    articulations: dict[str, Any]
    env_origins: torch.Tensor


def test_only_the_projects_cartpole_has_to_be_in_view():
    scene = SimpleNamespace(robot=SimpleNamespace(spawn=SimpleNamespace(usd_path="/ant.usd")), light=None)
    cfg = SimpleNamespace(scene=scene, sim=SimpleNamespace(dt=1 / 120), decimation=2, episode_length_s=5)
    away = RENDER.model_copy(update={"camera": RENDER.camera.model_copy(update={"target": (20.0, 0.0, 3.0)})})
    camera.check(cfg, away)
    scene.robot.spawn.usd_path = "assets/cartpole.usda"
    with pytest.raises(UserError, match="does not see the cartpole"):
        camera.check(cfg, away)
    camera.check(cfg, RENDER)
    cfg.decimation = 3  # 40 steps a second
    with pytest.raises(UserError, match=r"divide the task's 40 steps a second \(given: 15\)"):
        camera.check(cfg, RENDER)


def with_camera(**changes: Any) -> Render:
    return RENDER.model_copy(update={"camera": RENDER.camera.model_copy(update=changes)})


@pytest.mark.parametrize("away", [0.05, 60.1, 1e9])
def test_a_camera_sees_its_target_neither_too_near_nor_too_far(away: float):
    with pytest.raises(UserError, match=r"^render\.camera\.target should be 0\.1 to 60\.0 m from render\.camera\.eye"):
        framing.check_target(with_camera(eye=(away, 0.0, 2.0), target=(0.0, 0.0, 2.0)).camera, "render.camera")
    framing.check_target(with_camera(eye=(59.9, 0.0, 2.0), target=(0.0, 0.0, 2.0)).camera, "render.camera")


def test_a_cartpole_beyond_what_the_camera_sees_is_not_in_view():
    points = np.array([[0.0, 0.0, 2.0]])
    seen = [framing.in_view(points, with_camera(eye=(x, 0.0, 2.0), target=(0.0, 0.0, 2.0)))[0] for x in (59.9, 60.1)]
    assert seen == [True, False]


@pytest.mark.parametrize(
    "changes",
    [{"height": 2**31}, {"width": 2**31}, {"num_envs": 2**20}, {"episodes": 10**6}, {"length": 10**9}],
    ids=str,
)
def test_a_video_larger_than_can_be_held_or_written_is_refused(changes: dict[str, int]):
    scene = SimpleNamespace(robot=SimpleNamespace(spawn=SimpleNamespace(usd_path="/ant.usd")))
    cfg = SimpleNamespace(scene=scene, sim=SimpleNamespace(dt=1 / 120), decimation=2, episode_length_s=5)
    with pytest.raises(UserError, match=r"^render asks for \d+ frames of \d+ x \d+ pixels, which is more than"):
        camera.check(cfg, RENDER.model_copy(update=changes))


class Studio:
    """Two environments whose pictures are as bright as the steps since the reset, the second's ten brighter."""

    num_envs, step_dt, max_episode_length = 2, 1 / 60, 6

    def __init__(self) -> None:
        self.unwrapped = self
        self.resets, self.steps = 0, 0
        self.scene = {"camera": SimpleNamespace(data=SimpleNamespace(output={}))}
        self.acted: list[float] = []

    def _show(self) -> torch.Tensor:
        pictures = torch.tensor([self.steps, self.steps + 10], dtype=torch.uint8).view(2, 1, 1, 1)
        pictures = pictures.repeat(1, 4, 8, 4)  # red, green, blue, and how opaque
        pictures[..., 3] = 200
        self.scene["camera"].data.output["rgb"] = SimpleNamespace(torch=pictures)
        return torch.full((2, 1), float(self.steps))

    def reset(self) -> torch.Tensor:
        self.resets, self.steps = self.resets + 1, 0
        return self._show()

    def reset_twice(self) -> torch.Tensor:
        self.reset()
        return self.reset()

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor]:
        self.acted.append(actions[0].item())
        self.steps += 1
        return (self._show(),)


def brightness(frame: np.ndarray) -> list[int]:
    """Of the tiles of a frame, one below the other."""
    return [int(value) for value in np.unique(frame) if value != 255]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"episodes": 1, "length": 5, "fps": 60}, [0, 1, 2, 3, 4]),
        ({"episodes": 3, "length": 4, "fps": 30}, [0, 2, 0, 2, 0, 2]),
        ({"episodes": 2, "length": None, "fps": 20}, [0, 3, 0, 3]),
        ({"episodes": 2, "length": 3, "fps": 30}, [0, 2, 1]),
    ],
    ids=str,
)
def test_a_video_shows_every_so_many_steps_of_each_episode_from_its_start(changes, expected):
    env: Any = Studio()
    frames = list(camera.record(env, lambda observations: observations + 0.5, RENDER.model_copy(update=changes)))
    assert [brightness(frame) for frame in frames] == [[value, value + 10] for value in expected]
    assert all(frame.shape == (2 * 2 + 4, 4, 3) for frame in frames), "four pixels are one"
    length = changes["length"] or 6
    assert env.acted == [number % length + 0.5 for number in range(changes["episodes"] * length)]
    assert env.resets == 2 * changes["episodes"], "the first reset of Isaac Lab leaves all joints at rest"


def test_clips_begin_every_so_many_timesteps_and_have_a_frame_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: dict[str, Any] = {}
    monkeypatch.setattr(clips, "write_mp4", lambda path, frames, fps: written.update({path.name: (frames, fps)}))
    env: Any = Studio()
    callback = clips.Clips(tmp_path, TrainVideo(interval=10, length=3, camera=CAMERA), env)
    env.reset()
    for timesteps in range(2, 28, 2):
        env.step(torch.zeros(2, 1))
        callback.num_timesteps = timesteps
        assert callback._on_step()
    callback._on_training_end()
    callback._on_training_end()
    shown = {name: [brightness(frame)[0] for frame in frames] for name, (frames, _) in written.items()}
    # Two timesteps a step: the clip from 2 on has steps 1, 2, 3; the last one is cut off by the end.
    assert shown == {"2.mp4": [1, 2, 3], "12.mp4": [6, 7, 8], "22.mp4": [11, 12, 13]}
    assert {fps for _, fps in written.values()} == {60}


def test_a_clip_that_is_cut_off_is_written_and_shows_at_most_so_many_environments(tmp_path: Path, monkeypatch):
    written: dict[str, Any] = {}
    monkeypatch.setattr(clips, "write_mp4", lambda path, frames, fps: written.update({path.name: frames}))
    monkeypatch.setattr(clips, "TILES", 1)
    env: Any = Studio()
    callback = clips.Clips(tmp_path, TrainVideo(interval=10, length=3, camera=CAMERA), env)
    env.reset()
    callback.num_timesteps = 4
    callback._on_step()
    callback._on_training_end()
    assert list(written) == ["4.mp4"]
    assert written["4.mp4"].shape == (1, 4, 8, 3)
