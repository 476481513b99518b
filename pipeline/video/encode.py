"""Frames to an mp4 for browsers, a GIF and a film strip. The same frames make the same bytes."""

from __future__ import annotations

import io
import itertools
import math
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import write_atomically

GIF_WIDTH = 800
GIF_FPS = 20
STRIP_FRAMES = 8
STRIP_WIDTH = 400
GAP = 4  # pixels between tiles
MOST_PIXELS = 16384  # along a side of a frame, for x264
MOST_BYTES = 8e9  # of all frames, which stay in memory until they are written


def steps_per_frame(fps: int, step_dt: float) -> int:
    """Compute how many steps, of ``step_dt`` seconds, a frame lasts in a video at the speed of life."""
    rate = round(1 / step_dt)
    if rate < fps or rate % fps:
        divisors = ", ".join(str(number) for number in range(1, rate + 1) if rate % number == 0)
        raise UserError(
            f"render.fps should divide the task's {rate} steps a second (given: {fps}); these do: {divisors}"
        )
    return rate // fps


def average_down(images: np.ndarray, factor: int) -> np.ndarray:
    """Average squares of ``factor`` x ``factor`` pixels into one, in whole numbers.

    Args:
        images: uint8 ``[images, factor * height, factor * width, 3]``.
        factor: Pixels along each side of a square.

    Returns:
        uint8 ``[images, height, width, 3]``.
    """
    count, height, width, _ = images.shape
    squares = images.reshape(count, height // factor, factor, width // factor, factor, 3)
    area = factor**2
    return ((squares.sum(axis=(2, 4), dtype=np.uint16) + area // 2) // area).astype(np.uint8)


def tile(images: np.ndarray) -> np.ndarray:
    """Lay pictures out as one, row by row, with ``GAP`` white pixels in between.

    Args:
        images: uint8 ``[images, height, width, 3]``.

    Returns:
        uint8 ``[rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3]``, as square as can be but rather wide
        than high; what is left over stays white.
    """
    count, height, width, _ = images.shape
    rows, columns = _layout(count, height, width)
    grid = np.full((rows * columns, height + GAP, width + GAP, 3), 255, dtype=np.uint8)
    grid[:count, :height, :width] = images
    grid = grid.reshape(rows, columns, height + GAP, width + GAP, 3).swapaxes(1, 2)
    return grid.reshape(rows * (height + GAP), columns * (width + GAP), 3)[:-GAP, :-GAP]


def _layout(count: int, height: int, width: int) -> tuple[int, int]:
    """Compute the rows and columns of ``count`` tiles."""
    columns = math.ceil(math.sqrt(count * height / width))
    return math.ceil(count / columns), columns


def check_size(frames: int, tiles: int, height: int, width: int) -> None:
    """Refuse a video of ``frames`` frames, each of ``tiles`` tiles, that could not be held or written.

    Raises:
        UserError: If a frame has too long a side, or all together have too many bytes.
    """
    rows, columns = _layout(tiles, height, width)
    sides = rows * (height + GAP), columns * (width + GAP)
    if max(sides) > MOST_PIXELS or 3 * frames * math.prod(sides) > MOST_BYTES:
        raise UserError(
            f"render asks for {frames} frames of {sides[1]} x {sides[0]} pixels, which is more than {MOST_PIXELS} "
            f"along a side or {MOST_BYTES / 1e9:.0f} GB; lower render.width, height, num_envs, episodes or length"
        )


def check_frames(frames: np.ndarray) -> None:
    """Refuse a video that shows nothing.

    Args:
        frames: uint8 ``[frames, height, width, 3]``.

    Raises:
        UserError: If the picture is of one colour, or nothing moves in it.
    """
    if min(frame.std() for frame in frames) < 1.0:
        raise UserError("the camera sees nothing but one colour; point render.camera.eye and target at the robot")
    if len(frames) > 1 and all(np.array_equal(frame, frames[0]) for frame in frames):
        raise UserError("nothing moves in the picture; point render.camera.eye and target at the robot")


def write_mp4(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write H.264 in yuv420p, which every browser plays.

    Args:
        path: The file.
        frames: uint8 ``[frames, height, width, 3]``; height and width even.
        fps: Frames a second.

    Raises:
        UserError: If ffmpeg fails.
    """
    _, height, width, _ = frames.shape
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        command = [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"),
            # Without these two, the processor's own instructions decide how colours and bit rates are rounded.
            *("-sws_flags", "bicubic+accurate_rnd+bitexact", "-x264-params", "cpu-independent=1"),
            *("-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p"),
            # One thread and no dates or version strings: the same frames, the same bytes.
            *("-threads", "1", "-filter_threads", "1"),
            *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"),
            *("-movflags", "+faststart", str(video)),
        ]
        result = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
        if result.returncode:
            raise UserError(f"{path}: ffmpeg failed: {result.stderr.decode()}")
        write_atomically(path, video.read_bytes())


def write_gif(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write a looping GIF of at most ``GIF_WIDTH`` pixels and ``GIF_FPS`` frames a second, with one palette."""
    every = math.ceil(fps / GIF_FPS)
    images = [_scaled(frame, GIF_WIDTH) for frame in frames[::every]]
    palette = Image.fromarray(tile(_spread(images))).quantize(256, dither=Image.Dither.NONE)
    first, *rest = [Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    # A GIF counts hundredths of a second: rounded one by one, 15 frames a second would run too fast.
    times = [round(100 * every * number / fps) for number in range(len(images) + 1)]
    durations = [10 * (end - start) for start, end in itertools.pairwise(times)]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    write_atomically(path, file.getvalue())


def write_film_strip(path: Path, frames: np.ndarray) -> None:
    """Write ``STRIP_FRAMES`` frames, evenly spread over the video from its first, as tiles of a PNG."""
    file = io.BytesIO()
    Image.fromarray(tile(np.stack([_scaled(frame, STRIP_WIDTH) for frame in _spread(frames)]))).save(file, "PNG")
    write_atomically(path, file.getvalue())


def _spread(frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """``STRIP_FRAMES`` of the frames: uint8 ``[STRIP_FRAMES, height, width, 3]``."""
    return np.stack([frames[number * len(frames) // STRIP_FRAMES] for number in range(STRIP_FRAMES)])


def _scaled(frame: np.ndarray, width: int) -> np.ndarray:
    """Shrink a frame to ``width`` pixels if it is wider: uint8 ``[height, width, 3]``."""
    height, full_width, _ = frame.shape
    if full_width <= width:
        return frame
    size = (width, round(height * width / full_width))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
