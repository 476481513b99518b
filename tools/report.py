"""Write a comparison of runs as one HTML file, which opens from disk without a network: ``make report``."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import dvc.api
import jinja2
from dvc.exceptions import DvcException

from pipeline.experiment.files import read_text, write_atomically
from pipeline.experiment.paths import EVALUATION, LOCK_FILE, LOGS, PROVENANCE, VIDEO
from pipeline.experiment.records import read_records, record_of
from tools.compare import arguments, compare, load_groups, note, tables_of, values_of_few
from tools.comparison.pictures import draw
from tools.comparison.runs import Groups, Run, differing
from tools.replay import MARK
from tools.verification.recorded import up_to_date
from tools.verify import VERIFIED

TEMPLATE = Path(__file__).parent / "comparison/report.html"


def main() -> None:
    """Write the report, and say where it is."""
    parser = arguments("make report", __doc__)
    parser.add_argument("--to", type=Path, default=Path(LOGS) / "report.html")
    given = parser.parse_args()
    write_atomically(given.to, page(load_groups(given.runs, anew=given.evaluate), given.metric).encode())
    print(f"written: {given.to} ({given.to.stat().st_size / 1e6:.1f} MB)")


def page(groups: Groups, metric: str) -> str:
    """Fill in the template; the same runs give the same text."""
    described, against = tables_of(compared := compare(groups, metric))
    first = {name: runs[0].params for name, runs in groups.items() if runs[0].revision}
    names = differing([*first.values()])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text()).render(
        title=f"{metric} of {' | '.join(groups)}",
        groups=described,
        against=against,
        values=values_of_few(compared),
        note=note(compared),
        params=[{"param": name} | {group: first[group].get(name, "") for group in first} for name in names],
        pictures=[*draw(groups, metric)],
        videos=[*_videos(groups)],
        replays=[*_replays(groups)],
        runs=[_lineage(group, run) for group, runs in groups.items() for run in runs if run.revision],
    )


def _videos(groups: Groups) -> Iterator[tuple[str, str]]:
    """Give the video of each group's first run that has one, if all start alike."""
    first = [runs[0].params for runs in groups.values() if runs[0].revision]
    if any(name.startswith("render.") for name in differing(first)):
        return
    for name, runs in groups.items():
        if found := next(((run.seed, video) for run in runs if (video := _video(run))), None):
            yield f"{name}, seed {found[0]}", base64.b64encode(found[1]).decode()


def _replays(groups: Groups) -> Iterator[tuple[str, str]]:
    """Give the pages that ``make replay`` has made of the runs' policies."""
    pages = [path.read_text() for path in sorted(Path(LOGS).glob("replay*.html"))]
    for name, runs in groups.items():
        for run in runs:
            mark = MARK.format(json.loads(run.text(EVALUATION) or "{}").get("policy_sha256"))
            yield from ((f"{name}, seed {run.seed}", page) for page in pages if page.rstrip().endswith(mark))


def _video(run: Run) -> bytes:
    """Read the video of a run from DVC's cache, or its remote; empty if it was not rendered from the run's policy."""
    if "render" not in up_to_date(run.stages):
        return b""  # a run of a study leaves the video of another policy as it was
    try:
        return dvc.api.read(str(VIDEO), repo=".", rev=run.revision, mode="rb")
    except (DvcException, OSError):
        return b""


def _lineage(group: str, run: Run) -> dict[str, str]:
    """Say what a run is of, who made it, and whether it was verified here."""
    lock = run.text(LOCK_FILE)
    made = record_of(read_records(run.text(PROVENANCE)), "train", run.stage("train").outputs)
    verified = [json.loads(line) for line in read_text(VERIFIED).splitlines()]
    results = [record["result"] for record in verified if record["commit"] == run.revision]
    return {
        "group": group,
        "run": run.name,
        "seed": str(run.seed),
        "commit": run.revision[:10],
        "dvc.lock": hashlib.sha256(lock.encode()).hexdigest()[:10],
        "trained on": ", ".join([*made["machine"]["gpus"], made["machine"]["cpu"]]) if made else "no record",
        "verified": results[-1] if results else "not here",
    }


if __name__ == "__main__":
    main()
