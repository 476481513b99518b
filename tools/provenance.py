"""Print what made the results here, or those of a revision, first: machine, packages, threads, times."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from pipeline.experiment.files import read_text
from pipeline.experiment.paths import LOCK_FILE, PROVENANCE
from pipeline.experiment.records import read_records, record_of, recorded_outputs, runs_here
from tools.revisions import file_at


def main() -> None:
    """Print a section a stage, as YAML."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", help="commit, tag, branch or experiment; without, what is here")
    revision = parser.parse_args().revision
    lock = file_at(revision, str(LOCK_FILE)) if revision else read_text(LOCK_FILE)
    records = file_at(revision, str(PROVENANCE), missing="") if revision else ""
    # What DVC takes from its run cache was made by a run of before, whose record may be on this machine alone.
    known = [*read_records(records), *read_records(read_text(PROVENANCE)), *runs_here(Path())]
    for stage, outputs in recorded_outputs(lock).items():
        if record := record_of(known, stage, outputs):
            print(yaml.safe_dump({stage: record}, sort_keys=False, width=120), end="")
        elif outputs:
            print(f"{stage}: null  # made by a run that left no record here")


if __name__ == "__main__":
    main()
