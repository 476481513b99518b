"""Bad input through the door that users use, the stage: one sentence, exit code 1, no simulator, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from pipeline.experiment import interruption, preflight
from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.stage import run_stage
from tests.conftest import Project

pytestmark = pytest.mark.unit

BAD_PARAMS = [
    ({"ppo": {"lerning_rate": 1e-3}}, "ppo.lerning_rate is not a parameter; did you mean learning_rate?"),
    ({"train": {"num_env": 4}}, "train.num_env is not a parameter; did you mean num_envs"),
    (
        {"train": {"video": {"interval": None, "lenght": 4}}},
        "train.video.lenght is not a parameter; did you mean length?",
    ),
    ({"sim": {"deterministic": "maybe"}}, "sim.deterministic: input should be a valid boolean (given: 'maybe')"),
    ({"ppo": {"learning_rate": "maybe"}}, "such a number for a linear decay to 0 (given: 'maybe')"),
    ({"ppo": {"learning_rate": "lin_maybe"}}, "for a linear decay to 0 (given: 'lin_maybe')"),
    ({"ppo": {"learning_rate": -1.0}}, "ppo.learning_rate: should be a number from 1e-12 to 10, or lin_ and such"),
    ({"ppo": {"learning_rate": "lin_1e308"}}, "ppo.learning_rate: should be a number from 1e-12 to 10, or lin_ and"),
    ({"ppo": {"clip_range": 1e-320}}, "ppo.clip_range: should be a number from 1e-12 to 1000000, or lin_ and such"),
    ({"ppo": {"n_steps": 1e30}}, "ppo.n_steps: input should be less than or equal to 1000000 (given: 1e+30)"),
    ({"ppo": {"ent_coef": 1e30}}, "ppo.ent_coef: input should be less than or equal to 1000000 (given: 1e+30)"),
    ({"ppo": {"n_epochs": True}}, "ppo.n_epochs: should be a number (given: True)"),
    ({"train": {"num_envs": 0}}, "train.num_envs: input should be greater than 0 (given: 0)"),
    ({"train": {"num_envs": 2**31}}, "train.num_envs: input should be less than or equal to 1048576"),
    ({"train": {"total_timesteps": 1e30}}, "train.total_timesteps: "),
    ({"sim": {"threads": 1e30}}, "sim.threads: input should be less than or equal to 1024 (given: 1e+30)"),
    ({"sim": {"threads": 2000}}, "sim.threads: input should be less than or equal to 1024"),
    ({"ppo": {"max_grad_norm": 1e-320}}, "ppo.max_grad_norm: input should be greater than or equal to"),
    ({"normalize": {"clip_observations": 1e300}}, "normalize.clip_observations: input should be less than"),
    ({"evaluate": {"episodes": 1e12}}, "evaluate.episodes: input should be less than or equal to 10000000"),
    ({"evaluate": {"episodes": -3}}, "evaluate.episodes: input should be greater than 0 (given: -3)"),
    ({"train": {"total_timesteps": 10.5}}, "train.total_timesteps: input should be a valid integer"),
    ({"ppo": {"gamma": 1.5}}, "ppo.gamma: input should be less than or equal to 1 (given: 1.5)"),
    ({"ppo": {"gamma": float("nan")}}, "ppo.gamma:"),
    ({"ppo": {"batch_size": 100}}, "ppo.batch_size should divide the rollout of 256"),
    ({"ppo": {"n_minibatches": 4}}, "ppo takes batch_size or n_minibatches, not both"),
    (
        {"render": {"camera": {"follow": False, "eye": [1.0, 2.0]}}},
        "render.camera.eye: should be three numbers, x, y and z [m]",
    ),
    ({"render": {"width": 161}}, "render.width: input should be a multiple of 2 (given: 161)"),
    ({"seed": -1}, "dvc exp run -S seed=$RANDOM"),
    ({"seed": 2**32}, "seed: input should be less than 4294967296"),
    ({"seed": 1000000}, "evaluate.seed should differ from seed"),
    ({"sim": {"physics": "bullet"}}, "sim.physics: input should be 'physx', 'ovphysx'"),
    ({"sim": {"physics": "newton_kamino"}}, "set sim.deterministic to false, or take newton_mjwarp"),
    ({"sim": {"frontend": "warp"}}, "set sim.physics to newton_mjwarp (given: physx)"),
    ({"sim": {"device": "gpu"}}, "sim.device: should be cpu, cuda or cuda:N (given: 'gpu')"),
    (
        {"sim": {"device": "auto"}},
        "sim.device: auto is not allowed, because a GPU gives other bits; set cpu, cuda or cuda:N",
    ),
    ({"sim": {"device": "cuda:99"}}, "sim.device: cuda:99 was asked for, and this machine has"),
]


def test_a_processor_without_avx2_is_refused_before_it_makes_other_bits(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Intel(R) Xeon(R) CPU E5-2670\nflags\t\t: fpu sse4_2 avx\n\nprocessor\t: 1\n")
    monkeypatch.setattr(preflight, "CPUINFO", cpuinfo)
    with pytest.raises(UserError, match="this processor lacks avx2 and fma, without which the bits would be others"):
        preflight.check_machine(load_params().sim)


@pytest.mark.parametrize(("changes", "sentence"), BAD_PARAMS, ids=[sentence for _, sentence in BAD_PARAMS])
def test_it_is_refused_in_one_sentence(template: Path, tmp_path: Path, monkeypatch, changes, sentence):
    def train(params: object, run: object) -> None:
        pytest.fail("the stage has begun")

    shutil.copy2(template / "params.yaml", tmp_path)
    Project(tmp_path).edit_params(changes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(interruption, "listen", lambda: None)  # of the signals of this process
    with pytest.raises(SystemExit) as ended:
        run_stage(train)
    assert str(ended.value).startswith("train: ")
    assert sentence in str(ended.value)
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize("stage", ["check", "train", "evaluate", "render"])
def test_every_stage_refuses_it_before_the_simulator(fresh_project: Project, stage: str):
    fresh_project.edit_params({"ppo": {"gamma": 1.5}})
    result = fresh_project.run("python", "-m", f"stages.{stage}", check=False)
    sentence = "params.yaml: ppo.gamma: input should be less than or equal to 1 (given: 1.5)"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"{stage}: {sentence}\n")
    fresh_project.edit_params({"ppo": {"gamma": 0.9}, "sim": {"device": "cuda:99"}})
    result = fresh_project.run("python", "-m", f"stages.{stage}", check=False)
    assert result.stderr.startswith(f"{stage}: sim.device: cuda:99 was asked for"), "as the checks say"
    assert (result.returncode, result.stdout) == (1, "")


def test_no_check_imports_torch_or_the_simulator(fresh_project: Project):
    code = (
        "import sys; from pipeline.experiment.stage import check_machine, load_params;"
        "check_machine(load_params().sim);"
        "sys.exit(bool({'torch', 'warp', 'isaaclab', 'stable_baselines3'} & set(sys.modules)))"
    )
    fresh_project.run("python", "-c", code)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("seed: [", "params.yaml is not valid YAML"),
        ("seed: 1\nseed: 2\n", 'params.yaml is not valid YAML: found duplicate key "seed"'),
        ("", "params.yaml has no sections"),
        ("seed: 1\n", "params.yaml: sim is missing"),
    ],
)
def test_a_broken_params_file_is_one_sentence(fresh_project: Project, content, sentence):
    (fresh_project.folder / "params.yaml").write_text(content)
    result = fresh_project.run("python", "-m", "stages.evaluate", check=False)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def deep(path: Path) -> None:
    path.write_text("x: " + "{a: " * 500 + "1" + "}" * 500)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (Path.mkdir, "is not a file; move it away, and run `git checkout params.yaml`"),
        (os.mkfifo, "is not a file; move it away, and run `git checkout params.yaml`"),
        (lambda path: path.symlink_to("nowhere"), "is missing; run the stage in the project's folder"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_text("x: 1\n" * 20_001), "is larger than 100,000 bytes; run `git checkout"),
        (deep, "is nested too deeply; run `git checkout params.yaml`"),
    ],
    ids=["folder", "FIFO", "dangling", "loop", "huge", "deep"],
)
def test_a_params_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch, make, sentence: str):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "params.yaml")
    with pytest.raises(UserError, match=f"^params.yaml {re.escape(sentence)}"):
        load_params()


def test_a_huge_value_is_shown_without_its_middle(template: Path, tmp_path: Path):
    shutil.copy2(template / "params.yaml", tmp_path)
    Project(tmp_path).edit_params({"sim": {"device": "x" * 50_000}})
    with pytest.raises(UserError) as refused:
        load_params(tmp_path / "params.yaml")
    assert len(str(refused.value)) < 2100
    assert re.search(r"sim\.device: .*xxx \[\.\.\.\] xxx.*'\)$", str(refused.value))


def test_a_number_that_a_yaml_1_1_writer_left_as_text_is_a_number(fresh_project: Project):
    fresh_project.edit_params({"ppo": {"ent_coef": "1e-05", "learning_rate": "1e-05"}})
    code = (
        "from pipeline.experiment.params_file import load_params; ppo = load_params().ppo;"
        "print(ppo.ent_coef + ppo.learning_rate)"
    )
    assert fresh_project.run("python", "-c", code).stdout == "2e-05\n"


def test_isaac_sim_that_is_not_installed_is_one_sentence(fresh_project: Project):
    fresh_project.edit_params({"sim": {"physics": "isaacsim_physx"}})
    result = fresh_project.run("python", "-m", "stages.train", check=False)
    assert result.returncode == 1
    assert "make setup-isaacsim" in result.stderr


def test_a_missing_system_library_names_the_packages(fresh_project: Project):
    code = (
        "from pipeline.experiment import preflight; from pipeline.experiment.params_file import load_params;"
        "preflight.LIBRARIES = ('libNowhere.so.1',); preflight.check_libraries(load_params().sim)"
    )
    result = fresh_project.run("python", "-c", code, check=False)
    assert "libNowhere.so.1" in result.stderr
    assert "apt-get install libgl1 libopengl0 libglx0" in result.stderr
