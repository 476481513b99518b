"""What the README and the pages in docs/ tell their readers."""

from __future__ import annotations

import re
import sys

import pytest

from tests.conftest import ROOT, Project

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("tasks/*/*.md")])


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:pipeline|stages|tests|tools)/[\w/.]+)`", page.read_text())
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.sim
def test_the_readmes_lines_of_python_use_the_policy(project: Project):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed = project.run(sys.executable, "-c", block).stdout
    assert re.fullmatch(r"tensor\(\[\[-?[01]\.\d*\]\]\)\n", printed)
