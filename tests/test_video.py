"""The video's files, and what the camera must see, without a simulator."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.video import encode
from pipeline.video.framing import check_cartpole_in_view, in_view
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

NAMES = ("video.mp4", "video.gif", "strip.png")
RENDER = load_params(ROOT / "params.yaml").render
RED, GREY = (200, 30, 20), (230, 235, 240)


def moving_square(count: int, height: int = 60, width: int = 160) -> np.ndarray:
    """A red square that walks over a grey picture: uint8 ``[count, height, width, 3]``."""
    frames = np.empty((count, height, width, 3), dtype=np.uint8)
    frames[:] = GREY
    for number, frame in enumerate(frames):
        frame[20:40, 4 * number : 4 * number + 20] = RED
    return frames


def write_all(folder) -> None:
    frames = moving_square(30)
    encode.write_mp4(folder / NAMES[0], frames, 15)
    encode.write_gif(folder / NAMES[1], frames, 15)
    encode.write_film_strip(folder / NAMES[2], frames)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    write_all(folder)
    return folder


def test_a_frame_lasts_a_whole_number_of_steps():
    assert [encode.steps_per_frame(fps, 1 / 60) for fps in (60, 30, 20, 15)] == [1, 2, 3, 4]
    with pytest.raises(UserError, match=r"render\.fps should divide the task's 60 steps a second \(given: 25\)"):
        encode.steps_per_frame(25, 1 / 60)
    with pytest.raises(UserError, match=r"120 steps a second \(given: 7\); these do: 1, 2, 3, 4, 5, .*, 60, 120$"):
        encode.steps_per_frame(7, 1 / 120)
    with pytest.raises(UserError, match=r"render\.fps should divide the task's 0 steps a second \(given: 15\)"):
        encode.steps_per_frame(15, 2.5)


def test_averages_squares_in_whole_numbers_and_rounds_to_the_nearest():
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    exact = images.reshape(2, 3, 2, 4, 2, 3).mean(axis=(2, 4))
    assert (encode.average_down(images, 2) == np.floor(exact + 0.5)).all()
    assert (encode.average_down(images, 1) == images).all()
    assert (encode.average_down(np.full((1, 4, 4, 3), 255, dtype=np.uint8), 4) == 255).all()


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (8, 2, 4), (64, 5, 13)])
def test_tiles_are_as_square_as_can_be(count, columns, rows):
    picture = encode.tile(np.zeros((count, 60, 160, 3), dtype=np.uint8))
    assert picture.shape == (64 * rows - 4, 164 * columns - 4, 3)
    assert (picture == 0).all(axis=2).sum() == count * 60 * 160


def test_tiles_stand_row_by_row_on_white():
    images = np.stack([np.full((60, 160, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    picture = encode.tile(images)
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners[:, 0].tolist() == [10, 20, 30, 255]
    assert (picture[60:64] == 255).all()


def test_refuses_a_picture_of_one_colour_or_without_motion():
    frames = moving_square(3)
    encode.check_frames(frames)
    with pytest.raises(UserError, match="nothing but one colour"):
        encode.check_frames(np.full_like(frames, 240))
    with pytest.raises(UserError, match="nothing moves"):
        encode.check_frames(frames[[0, 0, 0]])
    encode.check_frames(frames[:1])
    frames[2] = 240
    with pytest.raises(UserError, match="nothing but one colour"):
        encode.check_frames(frames)


def test_the_same_frames_make_the_same_bytes_in_another_process_too(files, tmp_path):
    code = "import sys, pathlib; from tests.test_video import write_all; write_all(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
    first, second = (
        [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES] for folder in (files, tmp_path)
    )
    assert first == second


def test_the_mp4_is_what_browsers_play(files):
    path = files / NAMES[0]
    probe = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path], capture_output=True, text=True, check=False
    ).stderr
    assert re.search(r"Video: h264 .*yuv420p.* 160x60.* 15 fps", probe)
    assert "Duration: 00:00:02.00" in probe
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "a browser should not have to load it all to begin"


def test_the_mp4_shows_the_frames_in_their_order_and_colours(files):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", files / NAMES[0], "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 60, 160, 3).astype(int)
    frames = moving_square(30)
    assert len(shown) == 30
    # Away from the square's edges, where half the colour's resolution shows.
    for number, frame in enumerate(shown):
        for row, column in ((30, 4 * number + 10), (5, 5), (50, 150)):
            assert np.abs(frame[row, column] - frames[number, row, column]).max() <= 12, (number, row, column)


def test_the_mp4_is_as_fast_as_asked_for(tmp_path):
    encode.write_mp4(tmp_path / NAMES[0], moving_square(30), 30)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / NAMES[0]]
    probe = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert " 30 fps" in probe
    assert "Duration: 00:00:01.00" in probe


def test_the_mp4_refuses_frames_that_h264_cannot_hold(tmp_path):
    with pytest.raises(UserError, match=r"video\.mp4: ffmpeg failed"):
        encode.write_mp4(tmp_path / NAMES[0], moving_square(2, height=61), 15)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("fps", "frames"), [(15, 30), (20, 30), (30, 15), (60, 10)])
def test_the_gif_loops_at_the_speed_of_life_in_the_right_colours(tmp_path, fps, frames):
    encode.write_gif(tmp_path / NAMES[1], moving_square(30), fps)
    durations = []
    with Image.open(tmp_path / NAMES[1]) as gif:
        assert gif.info["loop"] == 0
        for number in range(frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
        last = np.asarray(gif.convert("RGB"))
        assert getattr(gif, "n_frames", 1) == frames
    assert sum(durations) == pytest.approx(1000 * 30 / fps, abs=5)
    assert np.abs(last[0, 0].astype(int) - GREY).max() <= 2
    assert np.abs(last[30, 4 * (frames - 1) * (30 // frames) + 10].astype(int) - RED).max() <= 2


def test_the_gif_and_the_film_strip_shrink_wide_pictures(tmp_path):
    frames = moving_square(9, height=120, width=1000)
    encode.write_gif(tmp_path / NAMES[1], frames, 15)
    encode.write_film_strip(tmp_path / NAMES[2], frames)
    with Image.open(tmp_path / NAMES[1]) as gif, Image.open(tmp_path / NAMES[2]) as strip:
        assert gif.size == (800, 96)
        assert strip.size == (400, 8 * (48 + 4) - 4)


def test_the_film_strip_shows_eight_frames_from_the_first_on(files):
    with Image.open(files / NAMES[2]) as strip:
        picture = np.asarray(strip)
    assert picture.shape == (4 * 64 - 4, 2 * 164 - 4, 3)
    frames = moving_square(30)
    # Every 30 / 8 = 3.75 frames; two tiles a row.
    for tile, number in enumerate([0, 3, 7, 11, 15, 18, 22, 26]):
        row, column = 64 * (tile // 2), 164 * (tile % 2)
        assert (picture[row : row + 60, column : column + 160] == frames[number]).all(), number


def test_the_default_camera_sees_the_cartpole_all_along_its_rail():
    check_cartpole_in_view(RENDER)
    points = np.array([(0.0, 3.125, 2.0), (0.0, 5.0, 2.0), (0.0, 0.0, 3.5), (0.0, 0.0, 0.0), (9.0, 0.0, 2.0)])
    assert in_view(points, RENDER).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    "camera",
    [
        {"eye": (5.0, 0.0, 3.3)},
        {"eye": (0.0, 0.0, 9.0), "target": (0.0, 0.0, 10.0)},
        {"eye": (-8.0, 0.0, 3.3), "target": (-9.0, 0.0, 3.0)},
        {"target": (8.0, 0.0, 3.3)},
        {"target": (0.0, 0.0, 0.0)},
        {"focal_length": 35.0},
    ],
    ids=str,
)
def test_a_camera_that_misses_a_part_is_refused(camera):
    settings = RENDER.model_copy(update={"camera": RENDER.camera.model_copy(update=camera)})
    with pytest.raises(UserError, match=r"render\.camera does not see the cartpole all along its rail"):
        check_cartpole_in_view(settings)


def test_a_wide_flat_picture_of_the_same_camera_is_refused():
    with pytest.raises(UserError):
        check_cartpole_in_view(RENDER.model_copy(update={"height": RENDER.height // 2}))
