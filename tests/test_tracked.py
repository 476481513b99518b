"""What ``env`` may name: functions of locked packages and files in assets/, of which DVC sees every change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.experiment.errors import UserError
from pipeline.simulation import tracked
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with assets/, beside a folder that is not its own."""
    folder = tmp_path / "project"
    (folder / "assets").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", ["numpy:mean", "isaaclab.envs.mdp:is_alive", "isaaclab.assets:Articulation"])
def test_a_function_of_a_locked_package_is_found(name: str):
    assert callable(tracked.find_function("env.f", name))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lambda: 9**9**9", "should be a function, as package.module:function"),
        ("numpy", "should be a function"),
        ("numpy:", "should be a function"),
        (":mean", "should be a function"),
        ("numpy:linalg.norm", "should be a function"),
        ("os:system", "take a package in requirements.txt, or put the code into a project in tasks/"),
        ("builtins:eval", "take a package in requirements.txt, or put the code into a project in tasks/"),
        (
            "pipeline.experiment.files:read_json",
            "take a package in requirements.txt, or put the code into a project in tasks/",
        ),
        ("pytest:main", "take a package in requirements.txt, or put the code into a project in tasks/"),
        ("nowhere:f", "take a package in requirements.txt, or put the code into a project in tasks/"),
        ("numpy.nowhere:f", "cannot be imported: ModuleNotFoundError"),
        ("numpy:nowhere", "cannot be imported: AttributeError"),
        ("numpy:pi", "numpy:pi is none"),
        ("torch.utils.bottleneck.__main__:main", "cannot be imported"),
    ],
)
def test_everything_else_is_no_function(name: str, sentence: str):
    with pytest.raises(UserError, match=r"^env\.f") as refused:
        tracked.find_function("env.f", name)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("folder", ["", "site-packages"])
def test_code_of_elsewhere_does_not_even_run(here: Path, monkeypatch: pytest.MonkeyPatch, folder: str):
    (here / folder).mkdir(exist_ok=True)
    (here / folder / "mine.py").write_text("open('it ran', 'w'); raise SystemExit(0)\ndef f(): pass\n")
    (here / "requirements.txt").write_text("mine==1.0\n")
    monkeypatch.syspath_prepend(str(here / folder))
    with pytest.raises(UserError, match="DVC would not see a change of mine; "):
        tracked.find_function("env.f", "mine:f")
    assert not (here / "it ran").exists()
    assert "mine" not in sys.modules


def test_a_module_that_ends_the_process_is_refused(monkeypatch: pytest.MonkeyPatch):
    def end(_: str) -> None:
        sys.exit(0)

    monkeypatch.setattr(tracked.importlib, "import_module", end)
    with pytest.raises(UserError, match="numpy cannot be imported: SystemExit"):
        tracked.find_function("env.f", "numpy:mean")


def test_a_file_that_dvc_would_not_see_a_change_of_is_refused(here: Path):
    outside = here.parent / "outside"
    (here / "assets" / "to_folder").symlink_to(outside)
    (here / "assets" / "to_file.usd").symlink_to(outside / "mine.usd")
    for path in (here / "assets" / "mine.usd", here / "mine.usd", here / "mine.txt", outside / "mine.usd"):
        path.touch()
    for name in (
        "assets/mine.usd",
        str(here / "assets/mine.usd"),
        "assets/to_file.usd",
        "mine",
        "omniverse://mine.usd",
    ):
        tracked.check_file("env.f", name)
    tracked.check_file("env.f", "a" * 5000)
    for name in (
        *("mine.usd", "mine.txt", "assets/../mine.usd"),
        "assets/to_folder/mine.usd",
    ):
        with pytest.raises(UserError, match=r"^env\.f: DVC would not see a change of .*; put the file into assets/"):
            tracked.check_file("env.f", name)


@pytest.mark.parametrize("name", ["assets/none.usda", "none.usdz", "file:assets/x.usd", "FILE:///x.usd"])
def test_a_file_that_is_not_there_is_said_not_to_be(here: Path, name: str):
    with pytest.raises(
        UserError, match=rf"^env\.f: there is no file {name}; give the path of one in assets/ or your project's src/$"
    ):
        tracked.check_file("env.f", name)


def test_the_projects_own_assets_are_good(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    tracked.check_assets()


@pytest.mark.parametrize(
    ("usd", "sentence"),
    [
        ("(subLayers = [@../../outside/other.usda@])", "assets/robot.usda reads /.*other.usda, of which DVC would not"),
        ('def "x" (references = @../../outside/other.usda@) {}', "assets/robot.usda reads /.*other.usda"),
        ('def "x" { asset texture = @../../outside/t.png@\n}', "assets/robot.usda reads /.*t.png"),
        ('def "x" {', "assets/robot.usda is no USD file that can be read"),
    ],
)
def test_an_asset_that_reads_files_elsewhere_is_refused(here: Path, usd: str, sentence: str):
    (here.parent / "outside" / "other.usda").write_text("#usda 1.0\n")
    (here.parent / "outside" / "t.png").touch()
    (here / "assets" / "robot.usda").write_text('#usda 1.0\n(subLayers = [@part.usda@])\ndef "y" {}\n')
    (here / "assets" / "part.usda").write_text("#usda 1.0\n")
    tracked.check_assets()
    (here / "assets" / "robot.usda").write_text(f"#usda 1.0\n{usd}\n")
    with pytest.raises(UserError, match=sentence) as refused:
        tracked.check_assets()
    assert "\n" not in str(refused.value)


def test_a_submodule_among_the_assets_is_refused(here: Path):
    (here / "assets" / "robots").mkdir()
    (here / "assets" / "robots" / ".git").write_text("gitdir: ../../.git/modules/robots\n")
    with pytest.raises(UserError, match=r"^assets/robots/\.git makes a repository within this one, on which `dvc exp"):
        tracked.check_assets()


def test_a_link_to_a_folder_among_the_assets_is_refused(here: Path):
    (here / "assets" / "robots").symlink_to(here.parent / "outside")
    with pytest.raises(UserError, match=r"^assets/robots is a link to a folder, into which DVC does not look"):
        tracked.check_assets()
