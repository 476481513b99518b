"""``make doctor``: a line for each check, and exit code 1 when one fails."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from tests.conftest import Project
from tools import doctor

pytestmark = pytest.mark.unit


@pytest.mark.slow
def test_doctor_lists_every_check(fresh_project: Project):
    lines = fresh_project.run("python", "-m", "tools.doctor").stdout.splitlines()
    names = [
        "params.yaml",
        "processor",
        "physics",
        "device",
        "libraries",
        "settings",
        "folders",
        "disk",
        "Git",
        "DVC remote",
    ]
    assert [line[:13].strip() for line in lines] == names
    assert all(line[13:].strip().startswith("ok") for line in lines)


@pytest.mark.slow
def test_doctor_goes_on_after_a_failure_and_exits_with_1(fresh_project: Project):
    fresh_project.edit_params({"sim": {"device": "cuda:99"}, "env": {"episode_length": 1}})
    result = fresh_project.run("python", "-m", "tools.doctor", check=False)
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert [line[:13].strip() for line in failed] == ["device", "settings"]
    assert "did you mean episode_length_s" in failed[1]


def test_doctor_goes_on_after_a_mistyped_task(fresh_project: Project):
    fresh_project.edit_params({"sim": {"task": "Isaac-Cartpol"}})
    result = fresh_project.run("python", "-m", "tools.doctor", check=False)
    assert result.returncode == 1
    assert not result.stderr
    assert result.stdout.splitlines()[-1].startswith("DVC remote    ok")


@pytest.mark.slow
def test_doctor_tells_who_has_no_name_what_dvc_needs_it_for(fresh_project: Project, tmp_path):
    fresh_project.run("git", "config", "--unset", "user.email")
    nobody = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "GIT_CONFIG_NOSYSTEM": "1"}
    result = fresh_project.run("python", "-m", "tools.doctor", check=False, **nobody)
    assert result.returncode == 1
    assert "git config --global user.email" in result.stdout


def test_doctor_says_at_once_that_params_yaml_cannot_be_read(fresh_project: Project):
    (fresh_project.folder / "params.yaml").write_text("seed: [")
    result = fresh_project.run("python", "-m", "tools.doctor", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("params.yaml   FAILED   params.yaml is not valid YAML")
    assert result.stderr.count("\n") == 1


def failure_of(check: str, fresh_project: Project, monkeypatch: pytest.MonkeyPatch, capsys) -> str:
    """Why ``check`` alone fails in the project; the others take seconds."""
    monkeypatch.chdir(fresh_project.folder)
    monkeypatch.setattr(doctor, "CHECKS", {check: doctor.CHECKS[check]})
    with pytest.raises(SystemExit) as exited:
        doctor.main()
    assert exited.value.code == 1
    _, line = capsys.readouterr().out.splitlines()  # after that of params.yaml
    name, words = line.split("FAILED")
    assert name.strip() == check
    return words


@pytest.mark.parametrize(("free", "passes"), [(1.9e9, False), (2.1e9, True)])
def test_doctor_wants_two_gigabytes_and_says_how_to_make_room(
    fresh_project: Project, monkeypatch: pytest.MonkeyPatch, capsys, free: float, passes: bool
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12 - free, free))
    if passes:
        assert doctor.CHECKS["disk"](doctor.load_params()) == "2 GB free"
    else:
        words = failure_of("disk", fresh_project, monkeypatch, capsys)
        assert "1.9 GB free; make room for 2 GB" in words
        assert "make tidy" in words


@pytest.mark.parametrize(
    "config",
    ["", "[core]\n    remote = team\n", "['remote \"team\"']\n    url = s3://bucket\n", "no config"],
    ids=["no remote", "a remote that is not there", "no default", "damaged"],
)
def test_doctor_says_in_one_line_that_there_is_no_remote_to_push_to(
    fresh_project: Project, monkeypatch: pytest.MonkeyPatch, capsys, config: str
):
    (fresh_project.folder / ".dvc" / "config").write_text(config)
    assert "docs/storage.md" in failure_of("DVC remote", fresh_project, monkeypatch, capsys)


def test_doctor_tells_a_remote_that_can_be_written_from_one_that_cannot(
    fresh_project: Project, monkeypatch: pytest.MonkeyPatch, capsys
):
    remote = fresh_project.folder.parent / "storage"
    config = fresh_project.folder / ".dvc" / "config"
    config.write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {remote}\n")
    monkeypatch.chdir(fresh_project.folder)
    check, params = doctor.CHECKS["DVC remote"], doctor.load_params()
    assert check(params).endswith("is a folder that is not there yet; `make push` makes it")
    assert not remote.exists()
    remote.mkdir()
    assert check(params) == f"the remote team ({remote}) can be read and written"
    shutil.rmtree(remote)
    remote.write_text("no folder")
    assert "cannot be reached" in failure_of("DVC remote", fresh_project, monkeypatch, capsys)
