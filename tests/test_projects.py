"""Projects with tasks of one's own below tasks/: which are found, and which code and files count as theirs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from dvc.ignore import DvcIgnoreFilter
from dvc.repo import Repo
from isaaclab.sim import GroundPlaneCfg

from pipeline.experiment import inputs
from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.simulation import configuration, projects, tracked, workarounds
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

PYPROJECT = '[project]\nname = "tilt"\n[project.entry-points."isaaclab.tasks"]\ntilt = "tilt"\n'
REGISTERS = """
import gymnasium as gym
gym.register(id="Tilt", entry_point="isaaclab.envs:ManagerBasedRLEnv", kwargs={
    "env_cfg_entry_point": "isaaclab_tasks.core.cartpole.cartpole_manager_env_cfg:CartpoleEnvCfg",
    "sb3_cfg_entry_point": "isaaclab_tasks.core.cartpole.agents:sb3_ppo_cfg.yaml",
})
"""
SIM = load_params(ROOT / "params.yaml").sim


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with the project tasks/tilt, and the current folder; what is imported from it is forgotten."""
    write(tmp_path / "tasks" / "tilt" / "pyproject.toml", PYPROJECT)
    write(tmp_path / "tasks" / "tilt" / "src" / "tilt" / "__init__.py", REGISTERS)
    write(tmp_path / "tasks" / "tilt" / "src" / "tilt" / "rewards.py", "def smooth(env, scale=1.0): ...\n")
    (tmp_path / "tasks" / "isaaclab").mkdir()
    (tmp_path / "assets").mkdir()
    for name in ("requirements.txt", "assets/cartpole.usda", "assets/ground.usda"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules, tasks = set(sys.modules), set(gym.registry)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    for name in set(gym.registry) - tasks:
        del gym.registry[name]
    importlib.invalidate_caches()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def configured(env: dict[str, Any] | None = None, **sim: str) -> Any:
    return configuration.configure(SIM.model_copy(update=sim), env or {}, num_envs=2, seed=1)[0]


def test_a_project_is_found_and_nothing_of_it_installed(here: Path):
    term = {"func": "tilt.rewards:smooth", "weight": -0.5, "params": {"scale": 2.0}}
    cfg = configured({"rewards": {"smooth": term}}, project="tilt", task="Tilt")
    assert cfg.rewards.smooth.func is sys.modules["tilt.rewards"].smooth
    assert (cfg.rewards.smooth.weight, cfg.rewards.smooth.params) == (-0.5, {"scale": 2.0})
    with pytest.raises(UserError, match=r"smooth\.params\.scal: smooth takes no such param; did you mean scale"):
        configured({"rewards.smooth": term | {"params": {"scal": 2.0}}}, project="tilt", task="Tilt")


@pytest.mark.parametrize("task", ["Tilt", "tilt:Tilt"])
def test_a_task_goes_by_its_id_alone_or_behind_its_module(here: Path, task: str):
    assert type(configured(project="tilt", task=task)).__name__ == "CartpoleEnvCfg"


def test_the_tasks_of_a_project_that_is_not_named_are_not_there(here: Path):
    with pytest.raises(UserError, match=r"^sim\.task: no task 'Tilt' is registered with an SB3 agent; "):
        configured(task="Tilt")
    with pytest.raises(
        UserError, match=r"^sim\.task: DVC would not see a change of tilt; .* name that in sim\.project"
    ):
        configured(task="tilt:Tilt")
    with pytest.raises(
        UserError, match=r"^env\.rewards\.pole_pos\.func: DVC would not see a change of tilt\.rewards; "
    ):
        configured({"rewards.pole_pos.func": "tilt.rewards:smooth"})


@pytest.mark.parametrize("task", ["__main__:Tilt", ".tilt:Tilt", "os:Tilt", "pytest:Tilt", "tilt.nowhere:Tilt"])
def test_a_module_that_is_neither_the_projects_nor_pinned_brings_no_task(here: Path, task: str):
    with pytest.raises(UserError, match=r"^sim\.task: (DVC would not see|tilt\.nowhere cannot be imported)"):
        configured(project="tilt", task=task)


@pytest.mark.parametrize("name", ["", ".", "..", "tilt/", "tilt/src", "../tasks/tilt", "tild", "readme.md", "/"])
def test_a_project_is_a_folder_of_tasks_by_its_name(here: Path, name: str):
    write(here / "tasks" / "readme.md", "")
    with pytest.raises(UserError, match=r"^sim\.project: there is no folder '.*' in tasks/; "):
        projects.register_project(name)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "no toml", PYPROJECT.replace("isaaclab.tasks", "isaaclab.task"), "project = 3\n"),
        *("[project]\nentry-points = 3\n", '[project.entry-points]\n"isaaclab.tasks" = 3\n'),
        *(PYPROJECT.replace('= "tilt"\n', "= 3\n"), b"\xff"),
    ],
    ids=str,
)
def test_a_project_names_its_modules_as_isaac_labs_template_does(here: Path, text: str | bytes | None):
    file = here / "tasks" / "tilt" / "pyproject.toml"
    file.unlink()
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        UserError, match=r"^sim\.project: tasks/tilt/pyproject\.toml should name the modules that regis"
    ):
        projects.register_project("tilt")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_project_that_cannot_be_imported_is_refused_in_one_sentence(here: Path, code: str, reason: str):
    write(here / "tasks" / "tilt" / "src" / "tilt" / "__init__.py", code)
    with pytest.raises(UserError, match=rf"^sim\.project: tilt cannot be imported: {reason}") as refused:
        projects.register_project("tilt")
    assert "\n" not in str(refused.value)


RUNS = "raise AssertionError('it ran')"


def test_a_package_of_the_same_name_that_is_installed_from_elsewhere_is_refused_and_does_not_run(here: Path):
    write(here / "elsewhere" / "tilt" / "__init__.py", RUNS)
    sys.path.insert(0, str(here / "elsewhere"))
    with pytest.raises(UserError, match=r"^sim\.project: DVC would not see a change of tilt; "):
        projects.register_project("tilt")


def test_a_loose_module_on_the_path_is_refused_and_does_not_run(here: Path):
    write(here / "loose.py", RUNS)
    sys.path.insert(0, str(here))
    with pytest.raises(UserError, match=r"^sim\.task: DVC would not see a change of loose; "):
        configured(project="tilt", task="loose:Tilt")


@pytest.mark.parametrize("package", ["linked", "linked_namespace"])
def test_a_package_that_is_a_link_to_elsewhere_is_refused_and_does_not_run(here: Path, package: str):
    """DVC follows no link to a folder."""
    write(here / "elsewhere" / ("code.py" if "namespace" in package else "__init__.py"), RUNS)
    (here / "tasks" / "tilt" / "src" / package).symlink_to(here / "elsewhere")
    projects.register_project("tilt")
    with pytest.raises(UserError, match=rf"^env\.f: DVC would not see a change of {package}"):
        tracked.find_function("env.f", f"{package}.code:f")


def test_a_package_without_an_init_file_is_good(here: Path):
    write(here / "tasks" / "tilt" / "src" / "plain" / "code.py", "def f(): ...\n")
    projects.register_project("tilt")
    assert tracked.find_function("env.f", "plain.code:f").__name__ == "f"


def test_a_file_of_a_project_takes_the_place_of_no_package(here: Path):
    write(here / "tasks" / "tilt" / "src" / "numpy" / "__init__.py", RUNS)
    projects.register_project("tilt")
    assert importlib.util.find_spec("numpy").origin.startswith(str(tracked.INSTALLED))  # type: ignore[union-attr]


def test_files_are_those_of_the_project_that_is_named(here: Path):
    for name in ("tilt/src/tilt/data/robot.usda", "other/src/other/robot.usda"):
        write(here / "tasks" / name, "#usda 1.0\n")
    for path in ("env.scene.robot.spawn.usd_path",):
        with pytest.raises(UserError, match=rf"^{path}: DVC would not see a change of tasks/tilt/.*robot\.usda"):
            configured({path.removeprefix("env."): "tasks/tilt/src/tilt/data/robot.usda"})
        mine = configured(
            {path.removeprefix("env."): "tasks/tilt/src/tilt/data/robot.usda"}, project="tilt", task="Tilt"
        )
        assert mine.scene.robot.spawn.usd_path == "tasks/tilt/src/tilt/data/robot.usda"
        with pytest.raises(UserError, match=rf"^{path}: DVC would not see a change of tasks/other/.*robot\.usda"):
            configured({path.removeprefix("env."): "tasks/other/src/other/robot.usda"}, project="tilt", task="Tilt")


def test_a_usd_file_of_a_project_reads_no_file_of_another(here: Path):
    write(here / "tasks" / "other" / "src" / "other" / "part.usda", "#usda 1.0\n")
    write(
        here / "tasks" / "tilt" / "src" / "tilt" / "robot.usda",
        "#usda 1.0\n(subLayers = [@../../../other/src/other/part.usda@])\n",
    )
    tracked.check_assets()
    projects.register_project("tilt")
    with pytest.raises(UserError, match=r"tilt/robot\.usda reads /.*other/part\.usda, of which DVC would not see"):
        tracked.check_assets()


def test_a_project_that_is_a_repository_of_its_own_is_refused(here: Path):
    """As `git clone` makes one."""
    (here / "tasks" / "tilt" / ".git").mkdir()
    projects.register_project("tilt")
    with pytest.raises(UserError, match=r"^tasks/tilt/\.git makes a repository within this one"):
        tracked.check_assets()


COUNTED = ["pyproject.toml", "src/tilt/__init__.py", "src/tilt/data/robot.usda", "src/tilt/sb3.yaml", "src/README.md"]
NOT_COUNTED = [
    *("README.md", "tests/test_tilt.py", "scripts/train.py", ".venv/lib/x.py", ".git/HEAD", "pip.egg-info/PKG-INFO"),
    *("__pycache__/x.pyc", "src/__pycache__/x.pyc", "src/tilt/__pycache__/x.pyc", "src/tilt.egg-info/PKG-INFO"),
    *("src/tilt/.cache/x", "src/tilt/.robot.usda.swp", "src/tilt/data/.git", "src/tilt/inner.egg-info/x"),
]


@pytest.fixture
def tilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project tasks/tilt, with what tools leave there, under the real .dvcignore."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
    for name in (*COUNTED, *NOT_COUNTED):
        write(tmp_path / "tasks" / "tilt" / name, name)
    monkeypatch.chdir(tmp_path)
    return Path("tasks/tilt")


def test_the_files_that_are_digested_are_those_that_dvc_counts(tilt: Path):
    Repo.init(".").close()
    with Repo(".") as repo:
        ignored = DvcIgnoreFilter(repo.fs, repo.root_dir)
        of_dvc = {Path(path).relative_to(tilt.absolute()) for path in ignored.find(repo.fs, str(tilt.absolute()))}
    assert sorted(map(str, of_dvc)) == sorted(COUNTED)
    assert [str(file.relative_to(tilt)) for file in inputs._files(tilt)] == sorted(COUNTED)


@pytest.mark.parametrize("name", [*COUNTED, *NOT_COUNTED])
def test_an_edit_of_a_projects_file_is_seen_where_it_counts(tilt: Path, name: str):
    before = inputs._digest(tilt)
    (tilt / name).write_text("edited")
    assert (inputs._digest(tilt) != before) == (name in COUNTED)
    (tilt / name).unlink()
    assert (inputs._digest(tilt) != before) == (name in COUNTED)


def test_what_would_be_downloaded_is_named_at_once(here: Path):
    with pytest.raises(
        UserError, match=r"^Isaac-Ant needs https?://.*, which is not here: download it into assets/.*env\.s"
    ):
        configured(task="Isaac-Ant")


def test_assets_of_a_folder_of_this_machine_alone_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch):
    """As ISAACSIM_ASSET_ROOT=<folder> lets Isaac Lab's own tasks have them."""
    configured()
    from isaaclab_tasks.core.cartpole import cartpole_manager_env_cfg  # which makes a ground plane when it is imported

    robot = here / "root" / "Isaac" / "Robots" / "robot.usda"
    write(robot, "#usda 1.0\n")
    made = cartpole_manager_env_cfg.CartpoleEnvCfg.__post_init__

    def with_robot(self: Any) -> None:
        made(self)
        self.scene.robot.spawn.usd_path = str(robot)

    monkeypatch.setattr(cartpole_manager_env_cfg.CartpoleEnvCfg, "__post_init__", with_robot)
    with pytest.raises(UserError, match=rf"^env\.scene\.robot\.spawn\.usd_path: DVC would not see a change of {robot}"):
        configured()


def test_a_description_names_the_same_files_in_every_folder(here: Path):
    robot = here / "tasks" / "tilt" / "src" / "tilt" / "robot.usda"
    write(robot, "#usda 1.0\n")
    described = configuration._plain(
        {
            "own": str(robot),
            "package": [f"{tracked.INSTALLED}/newton/ant.usda"],
            "other": "/elsewhere/x",
            "is": str(here),
        }
    )
    assert described == {
        "own": "tasks/tilt/src/tilt/robot.usda",
        "package": ["newton/ant.usda"],
        "other": "/elsewhere/x",
        "is": str(here),
    }


def test_a_description_names_the_same_files_where_the_environment_is_a_link(here: Path):
    (here / ".venv").symlink_to(sys.prefix)
    code = (
        "from pathlib import Path; import isaaclab; from pipeline.simulation.configuration import _plain;"
        "print(_plain([isaaclab.__file__, str(Path(isaaclab.__file__).resolve())]))"
    )
    command = [here / ".venv" / "bin" / "python", "-c", code]
    shown = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "['isaaclab/__init__.py', 'isaaclab/__init__.py']"


def test_a_ground_plane_is_the_projects_own_unless_another_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(GroundPlaneCfg, "__init__", GroundPlaneCfg.__init__)  # is put back
    for name in ("assets/ground.usda", "assets/other.usda"):
        workarounds.take_own_ground_plane(Path(name))
        assert GroundPlaneCfg().usd_path == "assets/ground.usda", "the first of two calls holds"
    assert GroundPlaneCfg(usd_path="assets/mine.usda").usd_path == "assets/mine.usda"
    assert GroundPlaneCfg(size=(1.0, 2.0)).size == (1.0, 2.0)


@pytest.mark.parametrize(
    ("code", "place"),
    [("import gymnasium\ndef (", "__init__.py, line 2"), ("import tilt.rewards\n", "rewards.py, line 3")],
)
def test_the_line_of_the_project_that_an_error_comes_from_is_named(here: Path, code: str, place: str):
    write(here / "tasks" / "tilt" / "src" / "tilt" / "rewards.py", "\n\nraise KeyError('gone')\n")
    write(here / "tasks" / "tilt" / "src" / "tilt" / "__init__.py", code)
    with pytest.raises(UserError, match=rf"^sim.project: tilt cannot be imported: .*, in tasks/tilt/src/tilt/{place}$"):
        projects.register_project("tilt")
