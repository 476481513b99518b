"""Prove a revision's results: run it again from nothing, elsewhere, and hold every output against its dvc.lock."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.files import read_json
from pipeline.params import PARAMS_FILE
from pipeline.provenance import PROVENANCE, made_on
from pipeline.stage import METRICS
from tools.revisions import commit_of

ABSENT = ("deleted", "not in cache")  # what DVC says of data that a clone has not pulled


def main() -> None:
    """Exit with 0 if every output came out as recorded, with 2 if on another machine the evaluations agree, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", help="commit, tag, branch or experiment; HEAD, and the data here")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        check_out(revision or "HEAD", clone)
        bring_data(clone)
        refuse([*([] if revision else untrue(Path())), *untrue(clone)])
        expected, evaluation = outputs(clone), read_json(clone / METRICS / "evaluate.json")
        recorded = read_json(clone / PROVENANCE)
        run_again(clone)
        differences = other_machine(recorded, read_json(clone / PROVENANCE))
        equal = compare(expected, outputs(clone))
        for difference in differences:
            print(f"made on another machine: {difference}")
        if equal:
            print(f"\nreproduced to the bit: {len(expected)} of {len(expected)} outputs")
        else:
            sys.exit(judge(evaluation, read_json(clone / METRICS / "evaluate.json"), bool(differences)))


def check_out(revision: str, clone: Path) -> None:
    """Clone this repository without its data, and check out ``revision`` of it."""
    commit = commit_of(revision)
    # --shared: an experiment's commit is on no branch, which a clone would leave out.
    run("git", "clone", "--quiet", "--shared", "--no-checkout", ".", str(clone))
    run("git", "-c", "advice.detachedHead=false", "-C", str(clone), "checkout", "--quiet", commit)
    if not (clone / "dvc.lock").exists():
        sys.exit(f"verify: {revision} has no dvc.lock, so that it has no results to verify")
    run(sys.executable, "-m", "dvc", "config", "--local", "cache.dir", ".dvc/cache", cwd=clone)


def bring_data(clone: Path) -> None:
    """Fetch what the revision has under `dvc add`, such as a policy to start from, from this repository's cache."""
    listed = subprocess.run(["git", "ls-files", "*.dvc"], cwd=clone, stdout=subprocess.PIPE, text=True, check=True)
    if targets := listed.stdout.splitlines():
        run(sys.executable, "-m", "dvc", "remote", "add", "--local", "here", Repo().cache.local_cache_dir, cwd=clone)
        run(sys.executable, "-m", "dvc", "pull", "--remote", "here", *targets, cwd=clone)


def untrue(folder: Path) -> list[str]:
    """What in the workspace ``folder`` is not what dvc.lock says; data that are not there are no lie."""
    with Repo(str(folder)) as repo:
        status: dict[str, Any] = repo.status()  # type: ignore[assignment]
    found = []
    for stage, findings in status.items():
        for finding in findings:
            if finding == "changed command":
                found.append(f"the command of {stage} in dvc.yaml")
            elif isinstance(finding, dict):
                found += [name for changes in finding.values() for name in named(changes)]
    return list(dict.fromkeys(found))


def named(changes: dict[str, Any]) -> list[str]:
    """The files, and the params with their path, that ``changes`` of DVC's status are about."""
    names = []
    for path, state in changes.items():
        if isinstance(state, dict):
            names += [f"{key} in {path}" for key in state]
        elif state not in ABSENT and path != str(PARAMS_FILE):  # of params.yaml, the sections count and are listed
            names.append(path)
    return names


def refuse(found: list[str]) -> None:
    """Exit if the results cannot be those of what is there."""
    for name in dict.fromkeys(found):
        print(f"not what dvc.lock says: {name}")
    if found:
        sys.exit("verify: the recorded results were not made of what is there; nothing was run")


def outputs(folder: Path) -> dict[str, str]:
    """The digest of every output in dvc.lock."""
    stages = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
    return {output["path"]: output["md5"] for stage in stages.values() for output in stage.get("outs", [])}


def other_machine(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """In what the machines, and the packages on them, that two provenances tell of differ."""
    if not recorded:
        return [f"{PROVENANCE} is missing, so that nobody knows on which"]
    differences = []
    for stage, record in recorded.items():
        there, now = made_on(record), made_on(here[stage])
        differences += [f"{name} {now[name]}; recorded {there[name]}" for name in there if now[name] != there[name]]
    return list(dict.fromkeys(differences))


def run_again(clone: Path) -> None:
    """Run every stage, taking nothing from any cache."""
    run(sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache", cwd=clone)


def compare(expected: dict[str, str], got: dict[str, str]) -> bool:
    """Print a line an output; True if all are equal."""
    print(f"\n{'output':<36} {'expected':<10} {'got':<10} equal")
    for path in sorted(expected | got):
        digests = [digests.get(path, "none") for digests in (expected, got)]
        equal = "yes" if digests[0] == digests[1] else "NO"
        print(f"{path:<36} {digests[0][:8]:<10} {digests[1][:8]:<10} {equal}")
    return expected == got


def judge(recorded: dict[str, float], here: dict[str, float], other: bool) -> int:
    """Say what differing outputs mean; the exit code."""
    if not other or "return_low" not in recorded:
        print(f"\nNOT reproduced{', on a machine of the recorded kind' if not other else ''}")
        return 1
    overlap = recorded["return_low"] <= here["return_high"] and here["return_low"] <= recorded["return_high"]
    print(
        f"\nNOT reproduced to the bit, on another kind of machine. No proof, but a comparison of the evaluations:\n"
        f"the 95% bootstrap intervals of the mean return, recorded {recorded['return_low']:.3f} to "
        f"{recorded['return_high']:.3f}, here {here['return_low']:.3f} to {here['return_high']:.3f}, "
        f"{'overlap' if overlap else 'DO NOT overlap'}"
    )
    return 2 if overlap else 1


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command; exit if it fails."""
    if subprocess.run(command, cwd=cwd, check=False).returncode:
        sys.exit(f"verify: `{' '.join(command)}` failed")


if __name__ == "__main__":
    main()
