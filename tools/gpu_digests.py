"""Add the bits that `make repro-gpu` gave to the table in docs/gpu.md, a row for each kind of GPU and driver."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from pipeline.experiment.files import read_json, read_text, write_atomically
from pipeline.experiment.paths import EVALUATION, LOCK_FILE, PROVENANCE
from pipeline.experiment.provenance import versions
from pipeline.experiment.records import Record, read_records, record_of, recorded_outputs

TABLE = Path("docs/gpu.md")
HEADER = """# The bits of `make repro-gpu`, by GPU and driver

`make digests-gpu` runs the experiment of `make repro-gpu` and writes its row here; whoever changes the bits does so
again. `policy` is `policy_sha256` of the metrics; `all outputs` is the SHA-256 of a line `path md5` for each output in
`dvc.lock`, sorted. Both are cut to 12 digits. Rows with the same digests have the same bits. `-`: not run.

| GPU, driver | policy | all outputs | return | torch, Warp, Newton |
| --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Write the row of the experiment that is in the workspace; exits if it was not made on a GPU."""
    outputs = recorded_outputs(read_text(LOCK_FILE))
    record = record_of(read_records(read_text(PROVENANCE)), "train", outputs.get("train", {}))
    if not record or not record["device"].startswith("cuda"):
        sys.exit("digests: the results here were not made on a GPU; run `make repro-gpu` first")
    rows = [line for line in read_text(TABLE).splitlines() if line.startswith("| ")][2:]
    new = row(record, {path: md5 for stage in outputs.values() for path, md5 in stage.items()})
    kept = [line for line in rows if line.split(" | ")[0] != new.split(" | ")[0]]
    write_atomically(TABLE, (HEADER + "\n".join(sorted([*kept, new])) + "\n").encode())
    print(new)


def row(record: Record, outputs: dict[str, str]) -> str:
    """Build the line of the table for a training and all outputs of its pipeline."""
    evaluation = read_json(EVALUATION)
    total = hashlib.sha256("".join(f"{path} {outputs[path]}\n" for path in sorted(outputs)).encode()).hexdigest()
    packages = ", ".join(versions()[name] for name in ("torch", "warp-lang", "newton"))
    policy, mean = evaluation["policy_sha256"], evaluation["return_mean"]
    return f"| {'; '.join(record['machine']['gpus'])} | {policy[:12]} | {total[:12]} | {mean:.3f} | {packages} |"


if __name__ == "__main__":
    main()
