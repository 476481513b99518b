"""Frames as an mp4 for browsers, a GIF and a film strip; the same frames give the same bytes."""

from __future__ import annotations

import io
import math
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from pipeline.errors import UserError
from pipeline.files import write_atomically

GIF_WIDTH = 480
GIF_FPS = 15
STRIP_FRAMES = 8
STRIP_WIDTH = 320


def tile(images: np.ndarray) -> np.ndarray:
    """Lay the pictures of several environments out as one.

    Args:
        images: uint8 ``[environments, height, width, 3]``.

    Returns:
        uint8 ``[rows * height, columns * width, 3]``, as square as can be; what is left over stays black.
    """
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width, 3), dtype=np.uint8)
    grid[:count] = images
    return grid.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def check_frames(frames: np.ndarray) -> None:
    """Refuse a video that shows nothing.

    Args:
        frames: uint8 ``[frames, height, width, 3]``.

    Raises:
        UserError: If the picture is of one colour, or nothing moves in it.
    """
    if frames.std(axis=(1, 2, 3)).min() < 1.0:
        raise UserError("the camera sees nothing but one colour; point render.camera.eye and target at the robot")
    if len(frames) > 1 and np.abs(np.diff(frames.astype(np.int16), axis=0)).max() == 0:
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
            *("-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p"),
            # One thread and no dates or version strings: the same frames, the same bytes.
            *("-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"),
            *("-movflags", "+faststart", str(video)),
        ]
        result = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
        if result.returncode:
            raise UserError(f"{path}: ffmpeg failed: {' '.join(result.stderr.decode().split())}")
        write_atomically(path, video.read_bytes())


def write_gif(path: Path, frames: np.ndarray, fps: int) -> None:
    """Write a looping GIF of at most ``GIF_WIDTH`` pixels and ``GIF_FPS`` frames a second, with one palette."""
    every = max(1, round(fps / GIF_FPS))
    images = [_scaled(frame, GIF_WIDTH) for frame in frames[::every]]
    palette = _filmstrip(images[:: max(1, len(images) // STRIP_FRAMES)]).quantize(256, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    file = io.BytesIO()
    duration = round(1000 * every / fps)
    first.save(file, "GIF", save_all=True, append_images=rest, duration=duration, loop=0, optimize=False)
    write_atomically(path, file.getvalue())


def write_film_strip(path: Path, frames: np.ndarray) -> None:
    """Write ``STRIP_FRAMES`` frames, evenly spread over the video, side by side as a PNG."""
    chosen = np.linspace(0, len(frames) - 1, STRIP_FRAMES).round().astype(int)
    file = io.BytesIO()
    _filmstrip([_scaled(frames[index], STRIP_WIDTH) for index in chosen]).save(file, "PNG")
    write_atomically(path, file.getvalue())


def _scaled(frame: np.ndarray, width: int) -> Image.Image:
    image = Image.fromarray(frame)
    width = min(width, image.width)
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _filmstrip(images: list[Image.Image]) -> Image.Image:
    strip = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for position, image in enumerate(images):
        strip.paste(image, (position * image.width, 0))
    return strip
