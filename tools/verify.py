"""Prove a revision's results: run it again from nothing, elsewhere, and hold every output against its dvc.lock."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import read_text
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import LOCK_FILE, LOGS, PIPELINE_FILE, PROVENANCE
from pipeline.experiment.provenance import machine
from pipeline.experiment.records import read_records
from tools.revisions import commit_of
from tools.verification.fresh_clone import bring_tracked_data, check_out
from tools.verification.recorded import Recorded, recorded_stages, untrue, up_to_date
from tools.verification.rerun import Outcome, run_again
from tools.verification.verdict import other_gpus, print_table, verdict

VERIFIED = Path(LOGS) / "verified.jsonl"  # what `make report` shows


def main() -> None:
    """Exit with 0 if every output came out as recorded, else with 1 and a sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", help="commit, tag, branch or experiment; HEAD, and the data here")
    try:
        verify(parser.parse_args().revision)
    except UserError as error:
        sys.exit(f"verify: {error}")


def verify(revision: str | None) -> None:
    """Verify ``revision``, or HEAD and the files here; exits if anything is not as recorded."""
    commit = commit_of(revision or "HEAD")  # now: HEAD may move while the stages run
    with tempfile.TemporaryDirectory() as folder:
        clone = check_out(commit, Path(folder) / "clone")
        stages = stages_that_were_run(clone)
        bring_tracked_data(clone)
        refuse([*untrue(clone, stages), *([] if revision else untrue(Path(), stages))])
        records = read_records(read_text(clone / PROVENANCE))  # of the revision: the stages add theirs
        results = run_again(clone, stages)
    print_table(stages, results)
    outcomes = {name: result.outcome for name, result in results.items()}
    count = sum(len(stage.outputs) for stage in stages.values())
    failed = any(outcome is not Outcome.EQUAL for outcome in outcomes.values())
    remember(commit, verdict(outcomes) if failed else f"{count} of {count} outputs reproduced")
    if failed:
        sys.exit("\n".join(["", *other_gpus(records, stages, machine()["gpus"]), f"verify: {verdict(outcomes)}"]))
    print(f"\nreproduced to the bit: {count} of {count} outputs")


def remember(commit: str, result: str) -> None:
    """Keep what became of a verification on this machine, unless the folder can only be read."""
    with contextlib.suppress(OSError):
        VERIFIED.parent.mkdir(exist_ok=True)
        with VERIFIED.open("a") as file:
            file.write(json.dumps({"commit": commit, "result": result}) + "\n")


def stages_that_were_run(clone: Path) -> dict[str, Recorded]:
    """List the stages whose results in dvc.lock belong together; says of the others that they are left out."""
    stages = up_to_date(recorded_stages(clone))
    if not any(stage.outputs for stage in stages.values()):
        sys.exit(f"verify: {LOCK_FILE} has no results to verify")
    for name in read_sections(clone / PIPELINE_FILE)["stages"]:
        if name not in stages:
            print(f"left out: {name} was not run in this revision", flush=True)  # before what DVC prints
    return stages


def refuse(found: Iterable[str]) -> None:
    """Exit if the recorded results cannot be those of what is there."""
    names = dict.fromkeys(found)
    for name in names:
        print(f"not what dvc.lock says: {name}")
    if names:
        sys.exit(
            "verify: the recorded results were not made from what is there, and nothing was run; undo the changes, or "
            "run `make repro` and commit what it makes"
        )


if __name__ == "__main__":
    main()
