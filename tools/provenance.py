"""Print what the results here, or those of a revision, were made by: machine, packages, threads, times."""

from __future__ import annotations

import argparse
import json

import yaml

from pipeline.files import read_text
from pipeline.provenance import PROVENANCE, is_of
from pipeline.store import LOCK_FILE
from tools.revisions import file_at


def main() -> None:
    """Print a section a stage, as YAML."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", help="commit, tag, branch or experiment; without, what is here")
    revision = parser.parse_args().revision
    provenance, lock = (
        file_at(revision, str(path)) if revision else read_text(path) for path in (PROVENANCE, LOCK_FILE)
    )
    stages = json.loads(provenance or "{}")
    print(yaml.safe_dump(stages, sort_keys=False, width=120), end="")
    for stage, record in stages.items():
        if not is_of(record, lock):
            print(f"# {stage}: this is another run's record; DVC has taken these results from its cache")


if __name__ == "__main__":
    main()
