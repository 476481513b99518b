"""``make study``: each run an experiment, whatever stops the study, and whatever becomes of a run."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from tests.conftest import ENVIRONMENT, ROOT, Project, wait_until
from tools.studies import pools
from tools.studies.settings import check_values, load_settings, override

pytestmark = [pytest.mark.unit, pytest.mark.slow]

STUDY = (sys.executable, "-m", "tools.study", "study.yaml", "--slots", "2")
GRID = {"params": {"ppo.gamma": [0.9, 0.99]}, "sampler": "grid", "seeds": [1, 2], "metric": "return_mean"}
# In place of training and evaluation; the more discount, the better. It appends a line to a file for every start.
STAGE = """
import json, os, pathlib, sys, time
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
gamma, seed = params["ppo"]["gamma"], params["seed"]
with open(os.environ["STARTED"], "a") as file:
    file.write(f"{gamma} {seed}\\n")
if gamma == 0.5 and not os.path.exists(os.environ["STARTED"] + ".mended"):
    sys.exit("gamma is 0.5, and that is not liked here")
pathlib.Path(".checked.json").write_text("{}")
time.sleep(float(os.environ.get("SECONDS_A_RUN", "0")))
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"return_mean": gamma + seed / 1000}))
"""
PIPELINE = """
stages:
  evaluate:
    cmd: exec python stage.py
    deps: [stage.py]
    params: [ppo, seed]
    metrics: [metrics/evaluate.json: {cache: false}]
    outs: [.checked.json: {persist: true}]
"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("study") / "clone")
    shutil.copytree(ROOT / ".dvc", project.folder / ".dvc", ignore=lambda *_: ["cache", "tmp", "config.local"])
    for name in ("params.yaml", ".gitignore", "requirements.txt"):
        shutil.copy2(ROOT / name, project.folder)
    (project.folder / "dvc.yaml").write_text(PIPELINE)
    (project.folder / "stage.py").write_text(STAGE)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    project.commit("A pipeline of one stage")
    return project.folder


@pytest.fixture
def project(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name, value in {"PYTHONPATH": str(ROOT), "STARTED": str(tmp_path / "started")}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    return Project(shutil.copytree(committed, tmp_path / "clone"))


def write_study(project: Project, **changes: Any) -> None:
    (project.folder / "study.yaml").write_text(json.dumps({"direction": "maximize"} | GRID | changes))


def started(project: Project) -> list[str]:
    """What has been started, in order: discount and seed."""
    file = project.folder.parent / "started"
    return file.read_text().splitlines() if file.exists() else []


def experiments(project: Project) -> set[str]:
    listed = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/study-*").stdout.split()
    return {name.rpartition("/")[2] for name in listed}


def read(project: Project) -> Study:
    storage = JournalStorage(JournalFileBackend(str(project.folder / "study.journal")))
    return optuna.load_study(study_name="study", storage=storage)


def test_a_trial_is_an_experiment_for_each_seed_and_the_best_can_be_applied(project: Project):
    params: dict[str, Any] = {"env.episode_length_s": [4], "train.total_timesteps": 20480}  # a list, and a constant
    write_study(project, params={**GRID["params"], **params})
    (project.folder / "notes.txt").touch()  # not in the commit, nor in the way
    said = project.run(*STUDY).stdout
    assert experiments(project) == {f"study-{trial:04}-s{seed}" for trial in (0, 1) for seed in (1, 2)}
    best = read(project).best_trial
    assert best.params == {"ppo.gamma": "0.99", "env.episode_length_s": "4"}
    assert best.value == pytest.approx(0.9915)
    assert best.user_attrs["spread"] == pytest.approx(0.0005)
    name = f"study-{best.number:04}-s2"
    assert f"`dvc exp apply {name}` takes the best" in said
    assert (project.folder / "logs" / "study_parallel.png").exists()
    listed = project.run(sys.executable, "-m", "tools.experiments").stdout
    assert "    2  return_mean 0.9915 ± 0.0005  ppo.gamma=0.99\n" in listed
    project.run("dvc", "exp", "apply", name)
    assert json.loads((project.folder / "metrics" / "evaluate.json").read_text()) == {"return_mean": 0.992}
    given = load_params(project.folder / "params.yaml")
    assert (given.env, given.train.total_timesteps) == ({"episode_length_s": 4}, 20480)
    assert not [*(project.folder / ".dvc" / "tmp" / "studies").glob("study-*")]
    assert sorted(started(project)) == ["0.9 1", "0.9 2", "0.99 1", "0.99 2"]
    project.run("git", "checkout", "--force", ".")
    (project.folder / "later.txt").touch()
    project.commit("Something else")
    said = project.run(*STUDY).stdout
    assert len(started(project)) == 4, "the same command has nothing to do"
    assert "where the study began, and not of HEAD" in said
    assert f"`dvc exp branch {name} study-best` and `git merge study-best` takes the best" in said
    project.run("dvc", "exp", "branch", name, "study-best")
    project.run("git", "merge", "study-best")
    project.run("dvc", "repro")
    assert len(started(project)) == 4, "what the best has made comes from the cache"
    assert json.loads((project.folder / "metrics" / "evaluate.json").read_text()) == {"return_mean": 0.992}
    assert (project.folder / "later.txt").exists()
    assert "return_mean" in project.run(sys.executable, "-m", "tools.experiments", "-A").stdout


def test_what_fails_is_a_failed_trial_and_can_be_tried_once_more(project: Project):
    write_study(project, params={"ppo.gamma": [0.5, 0.9]})
    result = project.run(*STUDY, check=False)
    assert result.returncode == 1
    assert "gamma is 0.5, and that is not liked here" in result.stdout
    assert {trial.state.name for trial in read(project).trials} == {"FAIL", "COMPLETE"}
    (failed,) = (trial.number for trial in read(project).trials if trial.state.name == "FAIL")
    refused = project.run(*STUDY, "--again", str(1 - failed), check=False).stderr
    assert f"that trial did not fail; those that did: {failed}\n" in refused
    (project.folder.parent / "started.mended").touch()
    assert "failed" not in project.run(*STUDY, "--again", str(failed)).stdout
    assert f"study-{2:04}-s1" in experiments(project)
    assert sorted(trial.state.name for trial in read(project).trials) == ["COMPLETE", "COMPLETE", "FAIL"]


AT_NIGHT = [pytest.param(number, marks=pytest.mark.night) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [signal.SIGKILL, *AT_NIGHT])
def test_a_study_that_is_stopped_goes_on_and_leaves_nothing_running(project: Project, number: int):
    write_study(project, sampler="tpe", trials=3, params={"ppo.gamma": {"low": 0.9, "high": 0.99}})
    with project.start(*STUDY, SECONDS_A_RUN="2") as study:
        wait_until(lambda: len(started(project)) >= 3, seconds=60)
        study.send_signal(number)
        said, _ = study.communicate(timeout=60)
    assert "Traceback" not in said
    assert ("stopped; the same command goes on" in said) == (number == signal.SIGINT)
    before = experiments(project)
    assert len(before) >= 1
    wait_until(lambda: not running(project), seconds=20)
    (project.folder / ".dvc" / "tmp" / "studies" / "study-0009-s1").mkdir()
    write_study(project, sampler="tpe", trials=4, params={"ppo.gamma": {"low": 0.9, "high": 0.99}})
    project.run(*STUDY)
    assert len(experiments(project)) == 8, "with the trial that was added"
    assert [trial.state.name for trial in read(project).trials] == ["COMPLETE"] * 4
    assert len(started(project)) <= 8 + 2, "only what ran when it was stopped has run twice"
    assert not [*(project.folder / ".dvc" / "tmp" / "studies").glob("study-*/")], "clones are left behind"


def running(project: Project) -> bool:
    """Tell whether a process works in a clone, or is about to make one."""
    clones = str(project.folder / ".dvc" / "tmp" / "studies")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if clones in process.cwd() or (
                process.cwd() == str(project.folder) and "tools.studies.run" in process.cmdline()
            ):
                return True
    return False


@pytest.mark.night
def test_random_values_are_the_same_whenever_it_is_stopped(project: Project, committed: Path, tmp_path: Path):
    spec = {"sampler": "random", "trials": 2, "seeds": [1], "params": {"ppo.gamma": {"low": 0.9, "high": 0.99}}}
    write_study(project, **spec)
    project.run(*STUDY)
    other = Project(shutil.copytree(committed, tmp_path / "other"))
    for trials in (1, 2):
        write_study(other, **spec | {"trials": trials})
        other.run(*STUDY)
    assert [trial.params for trial in read(other).trials] == [trial.params for trial in read(project).trials]


def test_what_is_added_to_the_file_begins_soon_and_what_else_changes_is_refused(project: Project):
    settings = {"sampler": "random", "seeds": [1], "params": {"ppo.gamma": {"low": 0.9, "high": 0.99}}}
    write_study(project, **settings, trials=1)
    with project.start(*STUDY, SECONDS_A_RUN="90") as study:
        wait_until(lambda: len(started(project)) == 1, seconds=60)
        write_study(project, **settings, trials=2, metric="return")
        assert study.stdout
        assert any("study.yaml: metric changed since the study began; only trials" in line for line in study.stdout)
        write_study(project, **settings, trials=2)
        wait_until(lambda: len(started(project)) == 2, seconds=60)
        assert not experiments(project), "a slot was free"
        study.kill()
    wait_until(lambda: not running(project), seconds=20)


def test_what_is_not_committed_or_is_another_study_is_refused(project: Project):
    one: dict[str, Any] = {"params": {"ppo.gamma": [0.9]}, "seeds": [1]}
    write_study(project, params={"ppo.gamma": [0.9, 2.0]})
    for name in ("stage.py", "params.yaml"):
        with (project.folder / name).open("a") as file:
            file.write("# changed\n")
    assert "not committed: params.yaml, stage.py; its runs are of a commit" in project.run(*STUDY, check=False).stderr
    project.run("git", "checkout", ".")
    assert "study.yaml: ppo.gamma: input should be less than" in project.run(*STUDY, check=False).stderr
    write_study(project, **one)
    assert "that trial did not fail; those that did: none" in project.run(*STUDY, "--again", "3", check=False).stderr
    assert not [*project.folder.glob("study.[jl]*")], "what is refused leaves no file"
    project.run(*STUDY)
    write_study(project, **one | {"seeds": [1, 2], "direction": "minimize"})
    assert "seeds, direction changed since" in project.run(*STUDY, check=False).stderr
    write_study(project, **one)
    (project.folder / "study.journal").unlink()
    assert "there is an experiment study-0000-s1 of another study" in project.run(*STUDY, check=False).stderr
    write_study(project, **one, metric="return")
    project.run("dvc", "exp", "remove", *experiments(project))
    assert "has no return; did you mean return_mean?" in project.run(*STUDY, check=False).stderr


def test_a_metric_that_the_commit_does_not_have_is_refused_before_anything_runs(project: Project):
    (project.folder / "metrics").mkdir()
    (project.folder / "metrics" / "evaluate.json").write_text('{"return_mean": 1.0}')
    project.commit("A run")
    write_study(project, metric="return")
    assert "HEAD has no return; did you mean return_mean?" in project.run(*STUDY, check=False).stderr
    assert started(project) == []


def test_a_run_that_is_killed_without_a_word_has_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pools, "RUN", ("-c", "import os; os.kill(os.getpid(), 9)"))
    with pools.Local("cpu", slots=1) as pool:
        assert pool.submit([]).result() == "it ended with -9"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"params": {"ppo.gama": [1]}}, "study.yaml: ppo.gama is not a parameter; did you mean gamma?"),
        ({"params": {"ppo.learning_rate": [1e-3, -1e-3]}}, "study.yaml: ppo.learning_rate: should be a number from"),
        (
            {"params": {"ppo.gamma": {"low": 0.5, "high": 1.5}}, "sampler": "tpe", "trials": 1},
            "study.yaml: ppo.gamma: input should be",
        ),
        ({"params": {"train.num_envs": 16}}, "study.yaml: ppo.batch_size should divide the rollout of 256"),
        ({"params": {"ppo.gamma.": [1]}}, "study.yaml: params: LexerNoViableAltException: ++ppo.gamma.=1"),
        ({"params": {"env.name": "${name}"}}, "study.yaml: params: Interpolation key 'name' not found"),
        ({"params": {"++env.decimation": [1]}}, "params: ++env.decimation: write it without +"),
        ({"params": {"seed": [1]}}, "params: seed: list its values under seeds"),
        ({"params": {"ppo.gamma": []}}, "params: ppo.gamma: the list is empty"),
        ({"params": {"ppo.gamma": {"low": 0.9}}}, "params: ppo.gamma: high: Field required"),
        (
            {"params": {"ppo.gamma": {"low": 0.9, "high": 0.5}}, "sampler": "tpe", "trials": 1},
            "params: ppo.gamma: `low <= high` must hold",
        ),
        ({"params": {"ppo.gamma": {"low": 0.9, "high": 1.0}}}, "ppo.gamma: a grid needs a list of values"),
        ({"params": {}}, "params: Dictionary should have at least 1 item"),
        ({"sampler": "tpe"}, "trials: say how many"),
        ({"seeds": [1, 1]}, "seeds: one is there twice"),
        ({"sed": [1]}, "sed: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence(changes, sentence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "study.yaml").write_text(json.dumps({"direction": "maximize"} | GRID | changes))
    with pytest.raises(UserError) as raised:
        check_values(tmp_path / "study.yaml", load_settings(tmp_path / "study.yaml"))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_are_written_as_hydra_reads_them():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = {"pi": [64, 1e-05], "vf": [True, None, "lin_3e-3", "1", "nn.ELU", 'a "quoted" one']}
    parsed = OverridesParser.create().parse_override(f"key={override(value)}").value()
    assert json.loads(json.dumps(parsed, default=str)) == value


def test_each_run_sees_one_gpu_which_it_shares_with_as_many_as_there_are_slots(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pools, "cuda_device_count", lambda: 2)
    monkeypatch.setattr(
        pools, "RUN", ("-c", "import os, sys, time; time.sleep(1); sys.exit(os.environ['CUDA_VISIBLE_DEVICES'])")
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with pools.Local("cuda", slots=3) as pool:
        assert pool.slots == 6
        seen = [future.result() for future in [pool.submit([]) for _ in range(6)]]
    assert sorted(filter(None, seen)) == ["5"] * 3 + ["7"] * 3


# A cluster of two nodes, of which it kills the first one, with all that it runs, when it is told to.
CLUSTER = """
import sys
import psutil
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
sys.stdin.readline()
(raylet,) = (one.process.pid for one in nodes[0].all_processes["raylet"])
its_own = psutil.Process(raylet).children(recursive=True)
cluster.remove_node(nodes[0], allow_graceful=False)
for process in its_own:
    process.kill() if process.is_running() else None
print("killed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@pytest.mark.night
def test_a_number_of_slots_below_one_is_refused(project: Project):
    write_study(project)
    refused = project.run(*STUDY[:-1], "-1", check=False)
    assert refused.stderr == "study: SLOTS should be a number of runs, from 1 (given: -1)\n"


# It ends at Ctrl-C once all four of them have been asked to.
ENDS_WITH_THE_OTHERS = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1], sys.argv[2]).touch()
    while len([*pathlib.Path(sys.argv[1]).iterdir()]) < 4:
        time.sleep(0.05)
    sys.exit(3)
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
time.sleep(60)
"""


def test_all_runs_are_asked_to_end_before_any_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pools, "PATIENCE", 20.0)
    command = [sys.executable, "-c", ENDS_WITH_THE_OTHERS, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(number)], start_new_session=True, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    pools._stop(processes)
    assert [process.wait() for process in processes] == [3] * 4


@pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed (`make setup-ray`)")
def test_on_a_cluster_what_a_node_that_dies_was_running_is_run_by_another(project: Project, tmp_path: Path):
    project.run("git", "init", "--quiet", "--bare", str(tmp_path / "origin.git"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    project.run("dvc", "remote", "modify", "storage", "url", str(tmp_path / "storage"))
    project.commit("Remotes")
    write_study(project, seeds=[1, 2, 3])
    assert "has the commit of its runs" in project.run(*STUDY, "--cluster", "auto", check=False).stderr
    project.run("git", "push", "--quiet", "origin", "main")
    slow = ENVIRONMENT | {"SECONDS_A_RUN": "10"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], cwd=project.folder, env=slow, **pipes) as cluster:
        assert cluster.stdout
        address = cluster.stdout.readline().strip()
        with project.start(*STUDY, "--cluster", address) as study:
            wait_until(lambda: len(started(project)) >= 2, seconds=120)
            print("kill it", file=cluster.stdin, flush=True)
            assert cluster.stdout.readline() == "killed\n"
            said, _ = study.communicate(timeout=300)
        print("end", file=cluster.stdin, flush=True)
    assert study.returncode == 0, said
    assert len(experiments(project)) == 6
    assert len(started(project)) > 6, "what the node was running was begun again"
