"""Print what the results of a revision were made by: machine, packages, threads, times."""

from __future__ import annotations

import argparse
import json

import yaml

from pipeline.provenance import PROVENANCE
from pipeline.stage import METRICS
from tools.revisions import file_at


def main() -> None:
    """Print a section a stage, as YAML."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD", help="commit, tag, branch or experiment")
    revision = parser.parse_args().revision
    stages = json.loads(file_at(revision, str(PROVENANCE)))
    print(yaml.safe_dump(stages, sort_keys=False, width=120), end="")
    made = json.loads(file_at(revision, f"{METRICS}/train.json"))["policy_sha256"]
    for stage, record in stages.items():
        if record.get("policy_sha256") != made:
            print(f"# {stage}: this is another run's record; DVC has taken this revision's results from its cache")


if __name__ == "__main__":
    main()
