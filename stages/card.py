"""Describe the trained policy for whoever gets the folder alone: a model card, a licence, and digests of all files."""

from __future__ import annotations

from pipeline.experiment.params import Params
from pipeline.experiment.paths import EVALUATION, LICENSE, MODELS
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


def card(params: Params, run: Run) -> None:
    """Write ``models/README.md``, ``models/LICENSE`` and ``models/SHA256SUMS``."""
    from pipeline.card.card import write_card
    from pipeline.card.checksums import SUMS, checksums
    from pipeline.experiment.files import read_json, write_atomically

    run.end_phase("start")
    policy, evaluation = read_json(MODELS / "policy.json"), read_json(EVALUATION)
    text = write_card(policy, evaluation, params.model_dump(mode="json", exclude={"render"}))
    write_atomically(MODELS / "README.md", text.encode())
    write_atomically(MODELS / "LICENSE", LICENSE.read_bytes())
    write_atomically(MODELS / SUMS, checksums(MODELS))


if __name__ == "__main__":
    run_stage(card)
