"""A real browser for the tests of pages. It renders 3D without a GPU."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
WITHOUT_GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
Complaints = list[str]


@contextlib.contextmanager
def opened_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        yield browser
        browser.close()


def listen(page: Page) -> Complaints:
    """Gather what the page complains of."""
    complaints: Complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints
