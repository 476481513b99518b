"""The page of ``make report``, in a real browser where there is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.conftest import Project

pytestmark = pytest.mark.sim

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


@pytest.fixture(scope="module")
def report(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the project's run, and of one with another learning rate, which has no video of its own."""
    clone = Project(shutil.copytree(project.folder, tmp_path_factory.mktemp("report") / "clone"))
    clone.run("dvc", "exp", "run", "--name", "faster", "-S", "ppo.learning_rate=1e-2", "evaluate")
    clone.run("make", "--old-file=setup", "report", "RUNS=main faster")
    made = clone.folder / "logs" / "report.html"
    first = made.read_bytes()
    clone.run("make", "--old-file=setup", "report", "RUNS=main faster")
    assert made.read_bytes() == first
    return made


def test_a_report_has_what_a_reviewer_asks_for(report: Path):
    page = report.read_text()
    for expected in ("Params that differ", "ppo.learning_rate=0.01", "timesteps", "return of an episode", "not here"):
        assert expected in page
    assert page.count("data:video/mp4") == 1, "the experiment without render has the video of another policy"
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page), "it asks for another file"


@pytest.mark.skipif(not CHROMIUM, reason="no browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it(report: Path, width: int, scheme: Literal["light", "dark"]):
    complaints: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        play(page)
        assert page.locator("figure svg").count() == 4
        dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
    assert complaints == []


def play(page: Page):
    """Plays the video, and fails unless it runs within half a minute. It is short and begins again by itself."""
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("(video => video.currentTime > 0 && video.videoWidth > 0)(document.querySelector('video'))")
