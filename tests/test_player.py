"""``make play`` and ``make replay`` in a real browser: what is pressed does what it says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from scipy import ndimage

from tests.conftest import Project, wait_until
from tests.pages import CHROMIUM, Complaints, listen, opened_browser
from tools.player.page import HOST

pytestmark = [pytest.mark.sim, pytest.mark.skipif(not CHROMIUM, reason="no browser")]

CHECKPOINT = "models/checkpoints/512"


@pytest.fixture(scope="module")
def clone(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    clone = Project(shutil.copytree(project.folder, tmp_path_factory.mktemp("player") / "clone"))
    (clone.folder / CHECKPOINT).rename(clone.folder / "logs" / "later")  # a training brings it in the end
    return clone


@contextlib.contextmanager
def playing(clone: Project, arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``make play`` beside the test; gives the process and its address."""
    process = clone.start("make", "--old-file=setup", "play", f"ARGS={arguments}", start_new_session=True)
    assert process.stdout
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"play at (http://\S+)", line):
                yield process, found[1]
                return
        pytest.fail("".join(said))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def played(clone: Project) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with playing(clone, "--num-envs 2") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(played: tuple[subprocess.Popen[str], str], browser: Browser) -> tuple[Page, Complaints]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    complaints = listen(page)
    page.goto(played[1])
    page.get_by_text("steps a second").wait_for()
    return page, complaints


def shown(page: Page, name: str) -> float:
    """A number of the page's first lines."""
    text = page.get_by_text("steps a second").inner_text()
    (value,) = re.findall(rf"{re.escape(name)}:? (-?[\d.]+)|([\d.]+) {re.escape(name)}", text)
    return float("".join(value))


def soon(page: Page, happens: Callable[[], bool]) -> None:
    for _ in range(300):
        if happens():
            return
        page.wait_for_timeout(100)
    pytest.fail("did not happen within 30 s")


def test_the_page_shows_the_scene_without_a_complaint(opened: tuple[Page, Complaints]):
    page, complaints = opened
    canvas = page.locator("canvas").first.bounding_box()
    assert canvas
    assert canvas["width"] > 600
    soon(page, lambda: shown(page, "steps a second") > 1)
    assert complaints == []


def test_all_cartpoles_are_in_the_picture_also_of_a_page_that_is_loaded_later(
    played: tuple[subprocess.Popen[str], str], opened: tuple[Page, Complaints], browser: Browser
):
    page, _ = opened
    pause_at_the_start(page)
    soon(page, lambda: carts(page) == 2)
    for width, height in ((800, 600), (390, 844)):
        later = browser.new_page(viewport={"width": width, "height": height})
        later.goto(played[1])
        soon(later, lambda later=later: carts(later) == 2)
        later.close()


def carts(page: Page) -> int:
    """Count the carts by their colour. No control and no axis has it."""
    drawn = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    red, excess = drawn[..., 0], drawn[..., 2] - drawn[..., 0]
    blocks = ndimage.binary_opening((red > 80) & (red < 130) & (excess > 45) & (excess < 90))
    # A pole stands before the middle of its cart.
    joined = ndimage.binary_dilation(blocks, iterations=max(drawn.shape[1] // 100, 4))
    labels = np.zeros(joined.shape, dtype=np.int32)
    ndimage.label(joined, output=labels)
    return int(labels.max())


def pause_at_the_start(page: Page) -> None:
    """Pause, and begin an episode, lest one ends at the step that is looked at."""
    if page.get_by_role("button", name="Pause").count():
        page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Go on").wait_for()
    page.keyboard.press("r")
    page.wait_for_timeout(3000)


def state(page: Page) -> tuple[float, float]:
    return shown(page, "pole angle (rad)"), shown(page, "cart position (m)")


def test_a_push_moves_the_pole_of_a_paused_simulation_at_its_next_step(opened: tuple[Page, Complaints]):
    page, _ = opened
    pause_at_the_start(page)
    before = shown(page, "pole angle (rad)")
    page.get_by_role("button", name="pole left").click()
    page.get_by_role("button", name="Single step").click()
    soon(page, lambda: shown(page, "pole angle (rad)") > before + 0.02)  # 3 rad/s in a sixtieth of a second: 0.05
    soon(page, lambda: shown(page, "steps a second") == 0)
    page.keyboard.press("p")
    soon(page, lambda: shown(page, "steps a second") > 1)


def test_a_seed_brings_the_same_start_again(opened: tuple[Page, Complaints]):
    page, _ = opened
    pause_at_the_start(page)
    start = state(page)
    page.keyboard.press("n")
    soon(page, lambda: state(page) != start)
    page.keyboard.press("r")
    soon(page, lambda: state(page) == start)
    page.keyboard.press("p")


def test_a_checkpoint_that_a_training_writes_meanwhile_is_taken_up(clone: Project, opened: tuple[Page, Complaints]):
    page, _ = opened
    assert not page.get_by_text("512 timesteps").count()
    broken = clone.folder / "models" / "checkpoints" / "broken"
    broken.mkdir()
    (broken / "policy.json").write_text("{}")
    (clone.folder / "logs" / "later").rename(clone.folder / CHECKPOINT)
    page.get_by_text("512 timesteps").wait_for()
    shutil.rmtree(broken)


def test_a_training_makes_the_same_bytes_while_somebody_looks_on(clone: Project, opened: tuple[Page, Complaints]):
    page, _ = opened
    clone.run("dvc", "repro", "--force", "--single-item", "train")
    page.get_by_text("return in training").wait_for()
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert "up to date" in clone.run("dvc", "status").stdout


def test_ctrl_c_ends_it_and_leaves_nothing(played: tuple[subprocess.Popen[str], str], opened: tuple[Page, Complaints]):
    process, address = played
    port = int(address.rpartition(":")[2])
    assert answers(port)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: process.poll() is not None, seconds=20)
    assert not answers(port)


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((HOST, port)) == 0


def test_the_engine_is_chosen_at_the_start(clone: Project, browser: Browser):
    with playing(clone, "--num-envs 2 --physics newton_mjwarp") as (_, address):
        page = browser.new_page()
        page.goto(address)
        page.get_by_text("steps a second").wait_for()
        soon(page, lambda: shown(page, "steps a second") > 1)


def test_a_replay_opens_without_a_network_and_has_the_same_bytes_again(
    clone: Project, browser: Browser, tmp_path: Path
):
    pages = [tmp_path / "first.html", tmp_path / "second.html"]
    for path in pages:
        clone.run("make", "--old-file=setup", "replay", f"ARGS=--to {path}")
    assert pages[0].read_bytes() == pages[1].read_bytes()
    page = browser.new_context(offline=True).new_page()
    complaints = listen(page)
    page.goto(pages[0].as_uri())
    page.locator("canvas").first.wait_for()
    assert complaints == []
