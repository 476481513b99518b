"""``make doctor``: a line for each check, and exit code 1 when one fails."""

from __future__ import annotations

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.unit


def test_doctor_lists_every_check(untouched: Project):
    lines = untouched.run("python", "-m", "tools.doctor").stdout.splitlines()
    names = [
        "params.yaml",
        "processor",
        "task",
        "physics",
        "device",
        "libraries",
        "settings",
        "disk",
        "Git",
        "DVC remote",
    ]
    assert [line[:13].strip() for line in lines] == names
    assert all(line[13:].strip().startswith("ok") for line in lines)


def test_doctor_goes_on_after_a_failure_and_exits_with_1(untouched: Project):
    untouched.edit_params({"sim": {"device": "cuda:99"}, "env": {"episode_length": 1}})
    result = untouched.run("python", "-m", "tools.doctor", check=False)
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert [line[:13].strip() for line in failed] == ["device", "settings"]
    assert "did you mean episode_length_s" in failed[1]


def test_doctor_goes_on_after_a_mistyped_task(untouched: Project):
    untouched.edit_params({"sim": {"task": "Isaac-Cartpol"}})
    result = untouched.run("python", "-m", "tools.doctor", check=False)
    assert result.returncode == 1
    assert not result.stderr
    assert result.stdout.splitlines()[-1].startswith("DVC remote    ok")


def test_doctor_tells_who_has_no_name_what_dvc_needs_it_for(untouched: Project, tmp_path):
    untouched.run("git", "config", "--unset", "user.email")
    nobody = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "GIT_CONFIG_NOSYSTEM": "1"}
    result = untouched.run("python", "-m", "tools.doctor", check=False, **nobody)
    assert result.returncode == 1
    assert "git config --global user.email" in result.stdout
