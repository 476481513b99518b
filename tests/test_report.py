"""The page of ``make report``, in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.conftest import Project
from tests.pages import CHROMIUM, listen, opened_browser

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def report(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the project's run, and of one with another learning rate, which has no video of its own."""
    clone = Project(shutil.copytree(project.folder, tmp_path_factory.mktemp("report") / "clone"))
    clone.run("dvc", "exp", "run", "--name", "faster", "-S", "ppo.learning_rate=1e-2", "evaluate")
    clone.run("make", "--old-file=setup", "replay")
    clone.run("make", "--old-file=setup", "report", "RUNS=main faster")
    made = clone.folder / "logs" / "report.html"
    first = made.read_bytes()
    clone.run("make", "--old-file=setup", "report", "RUNS=main faster")
    assert made.read_bytes() == first
    return made


def test_a_report_has_what_a_reviewer_asks_for(report: Path):
    page = report.read_text()
    for words in ("Params that differ", "ppo.learning_rate=0.01", "return of an episode", "Replay of", "not here"):
        assert words in page
    assert page.count("data:video/mp4") == 1, "the experiment without render has the video of another policy"
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page), "it asks for another file"


@pytest.mark.skipif(not CHROMIUM, reason="no browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it(report: Path, width: int, scheme: Literal["light", "dark"]):
    with opened_browser() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        complaints = listen(page)
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        play(page)
        assert page.locator("figure svg").count() == 4
        page.locator("summary").click()
        page.frame_locator("iframe").locator("canvas").first.wait_for()
        dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
    assert complaints == []


def test_evaluated_anew_as_before_a_run_has_the_same_numbers(report: Path):
    clone = Project(report.parent.parent)

    def means(arguments: str) -> list[float]:
        compared = clone.run("make", "--old-file=setup", "compare", "RUNS=main faster", f"ARGS={arguments}").stdout
        return [group["mean"]["value"] for group in json.loads(compared)["groups"]]

    committed = means("--json")
    assert means("--evaluate --json") == committed
    clone.edit_params({"evaluate": {"seed": 7}})
    assert means("--evaluate --json") != committed
    assert means("--json") == committed


def play(page: Page):
    """Plays the video to its end: two frames, which Chromium does not always begin again."""
    page.evaluate("video = document.querySelector('video'); video.loop = false; video.play()")
    page.wait_for_function("video.ended && video.videoWidth > 0")
