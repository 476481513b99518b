"""``make compare`` and ``make report``: groups by all but the seed, statistics over seeds, one page."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.experiment.errors import UserError
from tests.conftest import ENVIRONMENT, ROOT, Project
from tools.compare import load_groups
from tools.comparison import statistics

pytestmark = pytest.mark.unit

COMPARE = (sys.executable, "-m", "tools.compare")
REPORT = (sys.executable, "-m", "tools.report")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository of this project's params and pipeline alone."""
    project = Project(tmp_path / "clone")
    project.folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy2(ROOT / name, project.folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    monkeypatch.chdir(project.folder)
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(ROOT))
    return project


def save_run(project: Project, name: str, value: float, changes: dict[str, Any], **lock: str) -> None:
    """Commit a run with these params as the experiment ``name``."""
    project.edit_params(changes)
    (project.folder / "metrics").mkdir(exist_ok=True)
    (project.folder / "metrics" / "evaluate.json").write_text(json.dumps({"return_mean": value, "success_rate": 1.0}))
    inputs = [{"path": path, "md5": md5} for path, md5 in lock.items()]
    with (project.folder / "dvc.lock").open("w") as file:
        YAML().dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "deps": inputs, "outs": []}}}, file)
    project.commit(name)
    project.run("git", "update-ref", f"refs/exps/00/0000/{name}", "HEAD")


def test_runs_that_differ_in_the_seed_alone_are_one_group(repository: Project):
    for number, rate in enumerate(("lin_1e-3", "lin_5e-3")):
        for seed in (1, 2):
            save_run(repository, f"study-{number:04}-s{seed}", seed, {"seed": seed, "ppo": {"learning_rate": rate}})
    groups = load_groups(["study", "study-0000-s1", "main"])
    assert {name: [run.seed for run in runs] for name, runs in groups.items()} == {
        "ppo.learning_rate=lin_1e-3": [1, 2],
        "ppo.learning_rate=lin_5e-3": [1, 2],
    }


def test_runs_of_other_code_are_another_group(repository: Project):
    save_run(repository, "old", 1.0, {"seed": 1}, **{"pipeline/ppo": "a", ".checked.json": "x"})
    save_run(repository, "same", 1.0, {"seed": 2}, **{"pipeline/ppo": "a", ".checked.json": "y"})
    save_run(repository, "new", 1.0, {"seed": 1}, **{"pipeline/ppo": "b"})
    assert {name: len(runs) for name, runs in load_groups(["old", "same", "new"]).items()} == {"old": 2, "new": 1}


@pytest.mark.parametrize(
    ("changes", "lock", "said"),
    [
        ({"evaluate": {"episodes": 9}}, {}, "evaluate.episodes is 1000 in one and 9 in other"),
        ({"evaluate": {"seed": 9}}, {}, "evaluate.seed is 1000000 in one and 9 in other"),
        ({"sim": {"physics": "newton_mjwarp"}}, {}, "sim.physics is physx in one and newton_mjwarp in other"),
        ({"env": {"episode_length_s": 9}}, {}, "env"),
        ({}, {"tasks/isaaclab": "b"}, "other and one are of another task: tasks/isaaclab differs"),
    ],
)
def test_what_was_evaluated_differently_is_not_compared(
    repository: Project, changes: dict[str, Any], lock: dict[str, str], said: str
):
    save_run(repository, "one", 1.0, {}, **{"tasks/isaaclab": "a"})
    save_run(repository, "other", 1.0, changes, **{"tasks/isaaclab": "a"} | lock)
    with pytest.raises(UserError, match=said):
        load_groups(["one", "other"])


def test_an_env_that_changes_nothing_is_none(repository: Project):
    save_run(repository, "one", 1.0, {"seed": 1})
    save_run(repository, "other", 1.0, {"seed": 2, "env": {"events": {}}})
    assert [len(runs) for runs in load_groups(["one", "other"]).values()] == [2]


def test_a_word_that_names_nothing_is_refused(repository: Project):
    save_run(repository, "one", 1.0, {})
    with pytest.raises(UserError, match="two is no commit"):
        load_groups(["one", "two"])


def write_csv(path: Path, **groups: list[float]) -> str:
    rows = [f"{name},{seed},{value}" for name, values in groups.items() for seed, value in enumerate(values)]
    path.write_text("\n".join(["group,seed,return_mean", *rows]) + "\n")
    return path.name


def compared(project: Project, *words: str) -> dict[str, Any]:
    return json.loads(project.run(*COMPARE, *words, "--json").stdout)


def test_five_seeds_are_judged_and_four_are_not(repository: Project):
    low = [1.0, 1.1, 1.2, 1.3, 1.4]
    file = write_csv(repository.folder / "a.csv", low=low, high=[value + 1 for value in low], few=[9.0] * 4)
    high, few = compared(repository, file)["against_the_first"]
    assert (high["verdict"], high["better"]["value"]) == ("better", 1.0)
    assert few == {"group": "few", "verdict": "no verdict: fewer than 5 seeds"}
    shown = repository.run(*COMPARE, file).stdout
    assert "few: 9, 9, 9, 9" in shown


def test_equal_groups_show_no_difference(repository: Project):
    values = [1.0, 1.1, 1.2, 1.3, 1.4]
    (row,) = compared(repository, write_csv(repository.folder / "a.csv", a=values, b=values))["against_the_first"]
    assert (row["verdict"], row["better"]["value"], row["p"]) == ("no difference shown", 0.5, 1.0)


def test_the_tables_are_markdown_if_asked(repository: Project):
    file = write_csv(repository.folder / "a.csv", a=[1.0], b=[2.0])
    assert "| a       | 1" in repository.run(*COMPARE, file, "--md").stdout


def test_a_metric_that_is_not_there_is_named(repository: Project):
    file = write_csv(repository.folder / "a.csv", a=[1.0])
    refused = repository.run(*COMPARE, file, "--metric", "speed", check=False)
    assert refused.returncode == 1
    assert refused.stderr == "compare: a, seed 0 has no speed; it has return_mean\n"


def test_wilsons_interval_is_the_published_one():
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    assert np.allclose(statistics.rate(81, 263), (0.3080, 0.2553, 0.3662), atol=5e-5)
    assert np.allclose(statistics.rate(15, 148), (0.1014, 0.0624, 0.1605), atol=5e-5)
    assert np.allclose(statistics.rate(0, 20), (0.0, 0.0, 0.1611), atol=5e-5)


def test_adjusted_p_are_the_published_ones():
    # Benjamini and Hochberg (1995), section 3: of 15 comparisons, the first four are found at 5%.
    given = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    assert [p < 0.05 for p in statistics.adjusted(given)] == [True] * 4 + [False] * 11


def test_p_is_that_of_all_permutations():
    ours, theirs = [1.0, 2.5, 3.0, 4.7], [2.0, 5.0, 6.5, 7.1]
    every = np.array(ours + theirs)
    seen = [every[[*chosen]].mean() - np.delete(every, chosen).mean() for chosen in itertools.combinations(range(8), 4)]
    observed = np.mean(ours) - np.mean(theirs)
    expected = 2 * min(np.mean(np.array(seen) <= observed + 1e-12), np.mean(np.array(seen) >= observed - 1e-12))
    assert math.isclose(statistics.p_value(ours, theirs), expected)


def test_probability_of_improvement_counts_pairs():
    pairs = [*itertools.product([1.0, 2.0, 3.0], [2.0, 0.5])]
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    found = statistics.estimate(statistics.probability_of_improvement, [1.0, 2.0, 3.0], [2.0, 0.5])
    assert math.isclose(found.value, expected)
    many = statistics.estimate(statistics.probability_of_improvement, [1.0, 2.0, 3.0] * 2, [2.0, 0.5] * 3)
    assert many.low < many.value == found.value < many.high


def test_four_seeds_have_no_interval():
    assert np.isnan(statistics.estimate(np.mean, [1.0, 2.0, 3.0, 4.0])[1:]).all()
    assert np.isfinite(statistics.estimate(np.mean, [1.0, 2.0, 3.0, 4.0, 5.0])[1:]).all()


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    values = np.random.default_rng(3).normal(size=12)
    means = np.random.default_rng(4).choice(values, (50_000, 12)).mean(axis=1)
    found = statistics.estimate(np.mean, values)
    assert np.allclose(found[1:], np.quantile(means, [0.025, 0.975]), atol=0.03)  # of two samples of 10,000


def test_the_interquartile_mean_leaves_out_the_outer_quarters():
    assert statistics.interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, -100])) == 3.5


def test_the_performance_profile_is_the_share_above():
    assert statistics.performance_profile([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.5, 4.0]).tolist() == [1, 0.75, 0.5, 0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "a.csv has no rows"),
        ("group,seed,return_mean\n", "a.csv has no rows"),
        ("group,seed,return_mean\na,1,nan\n", "a.csv, line 2: return_mean is not finite"),
        ("seed,return_mean\n1,2\n", "a.csv, line 2: should have a group, a seed and numbers"),
        ("group,seed,return_mean\na,1,2\na,2\n", "a.csv, line 3: should have a group, a seed and numbers"),
        ("group,seed,success_rate\na,1,95\n", "a.csv, line 2: success_rate should be a share from 0 to 1"),
        ("group,seed,return_mean\na,1,2\n a,1,3\n", "a, seed 1, is there twice"),
    ],
)
def test_a_csv_that_says_nothing_is_refused(repository: Project, content: str, said: str):
    (repository.folder / "a.csv").write_text(content)
    with pytest.raises(UserError, match=said):
        load_groups(["a.csv"])


def test_beside_a_commit_the_groups_of_a_csv_keep_their_names(repository: Project, capsys: pytest.CaptureFixture[str]):
    save_run(repository, "one", 1.0, {"seed": 1})
    file = repository.folder / "a.csv"
    file.write_text("\ufeffgroup,seed,return_mean\na,1,1\na,2,2\nb,1,1\n")
    assert [*load_groups(["one", "main", "a.csv"])] == ["one", "a", "b"]
    assert "main is left out: one has the same params, seed and code" in capsys.readouterr().err


def test_a_group_is_not_lost_to_another_of_its_name(repository: Project):
    save_run(repository, "one", 1.0, {"seed": 1})
    write_csv(repository.folder / "a.csv", one=[9.0])
    with pytest.raises(UserError, match="two groups are called one"):
        load_groups(["one", "a.csv"])


def record(project: Project, **stages: dict[str, Any]) -> None:
    """Commit a dvc.lock in which ``stages`` ran."""
    with (project.folder / "dvc.lock").open("w") as file:
        YAML().dump({"schema": "2.0", "stages": {name: {"cmd": name} | stage for name, stage in stages.items()}}, file)
    project.commit("A lock file")


def files(**digests: str) -> list[dict[str, str]]:
    return [{"path": path, "md5": md5} for path, md5 in digests.items()]


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_results_of_other_params_are_not_compared(repository: Project, stage: str):
    save_run(repository, "one", 1.0, {"seed": 1})
    record(repository, **{stage: {"params": {"params.yaml": {"sim": {"physics": "newton_mjwarp"}}}}})
    with pytest.raises(UserError, match=r"main was not run since its params changed: sim\.physics was newton_mjwarp"):
        load_groups(["main"])


def test_metrics_of_another_policy_are_not_compared(repository: Project):
    save_run(repository, "one", 1.0, {"seed": 1})
    record(repository, train={"outs": files(weights="a")}, evaluate={"deps": files(weights="b")})
    with pytest.raises(UserError, match="main has the metrics of another policy"):
        load_groups(["main"])


def test_metrics_that_were_edited_are_not_compared(repository: Project):
    save_run(repository, "one", 1.0, {"seed": 1})
    record(repository, evaluate={"outs": files(**{"metrics/evaluate.json": "a"})})
    with pytest.raises(UserError, match=r"main has another metrics/evaluate\.json than its dvc\.lock says"):
        load_groups(["main"])


def test_what_other_code_evaluated_is_not_compared(repository: Project):
    for seed, md5 in enumerate("ab"):
        save_run(repository, md5, 1.0, {"seed": seed})
        record(repository, evaluate={"deps": files(**{"pipeline/evaluation": md5})})
        repository.run("git", "branch", f"code-{md5}")
    with pytest.raises(UserError, match="evaluated by other code: pipeline/evaluation differs; ARGS=--evaluate"):
        load_groups(["code-a", "code-b"])
