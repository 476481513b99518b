"""A stage whose output goes nowhere runs to its end, and exits as it would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

# What a stage does: words on both streams, a progress bar's part of a line, a file of its own, and an exit code.
STAGE = """
import os, sys
from pipeline.experiment import console
console.keep_open()
with open(sys.argv[1], "w") as file:
    for stream in (sys.stdout, sys.stderr):
        print("x" * 100_000, file=stream)
        stream.write("half")
        stream.flush()
        print("\\udcff\\u2588", file=stream)
    file.write(f"{file.fileno()}")
    sys.stdout.write("at the end")
sys.exit(3)
"""


@pytest.mark.parametrize("way", ["full", "no reader", "closed", "all closed", "as ever"])
def test_a_stage_whose_words_cannot_be_written_ends_as_ever(tmp_path: Path, way: str):
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"full": os.open("/dev/full", os.O_WRONLY), "no reader": writer}
    out = streams.get(way, os.open(os.devnull, os.O_WRONLY))
    close = {"closed": lambda: os.close(1), "all closed": lambda: os.closerange(0, 3)}.get(way)
    command = [sys.executable, "-c", STAGE, str(tmp_path / "file")]
    ended = subprocess.run(command, stdout=out, stderr=out, preexec_fn=close, check=False)
    assert ended.returncode == 3
    assert int((tmp_path / "file").read_text()) > 2, "and no file of the stage's has the number of a stream"


def test_words_that_can_be_written_are(tmp_path: Path):
    command = [sys.executable, "-c", STAGE, str(tmp_path / "file")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout == "x" * 100_000 + "\nhalf\\udcff\u2588\nat the end"
    assert ended.stderr == "x" * 100_000 + "\nhalf\\udcff\u2588\n"


def test_a_reader_who_does_not_keep_up_stops_nobody(tmp_path: Path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    command = [sys.executable, "-c", STAGE, str(tmp_path / "file")]
    assert subprocess.run(command, stdout=writer, stderr=writer, check=False).returncode == 3
    assert os.read(reader, 10) == b"xxxxxxxxxx"
    os.close(reader)
    os.close(writer)
