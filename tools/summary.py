"""Say what the pipeline made and where to look: the last words of ``make repro``."""

from __future__ import annotations

from pathlib import Path

from pipeline.experiment.files import read_json, read_text
from pipeline.experiment.paths import EVALUATION, LOCK_FILE, MODELS, TRAIN_METRICS, VIDEOS
from pipeline.experiment.records import Record, add_record, record_of, recorded_outputs, runs_here


def main() -> None:
    """Print the evaluation and the places of the outputs."""
    made_here = {stage: taken for stage, record in complete_records().items() if (taken := record["seconds"]) >= 1}
    trained, evaluated = read_json(TRAIN_METRICS), read_json(EVALUATION)
    print()
    if evaluated.get("policy_sha256") != trained.get("policy_sha256"):
        print("return        not evaluated; run `make repro`")
    elif evaluated:
        low, high = evaluated["return_low"], evaluated["return_high"]
        print(f"return        {evaluated['return_mean']:.3f}  ({low:.3f} to {high:.3f})")
        for name in ("success_rate", "survival_rate"):
            if name in evaluated:
                print(f"{name.replace('_', ' '):<14}{evaluated[name]:.1%}")
    if made_here:
        print(f"seconds       {', '.join(f'{stage} {seconds:.0f}' for stage, seconds in made_here.items())}")
    print(f"video         {VIDEOS}/policy.mp4")
    print(f"policy        {MODELS}/policy.safetensors, policy.json; {MODELS}/model.zip for SB3; {MODELS}/policy.onnx")
    print("more          dvc metrics show; dvc plots show; make tensorboard")


def complete_records() -> dict[str, Record]:
    """Give the results here their records in Git, which those from DVC's run cache may lack; return those made here."""
    outputs, runs = recorded_outputs(read_text(LOCK_FILE)), runs_here(Path())
    made_here = {stage: record for stage in outputs if (record := record_of(runs, stage, outputs[stage]))}
    for record in made_here.values():
        add_record(record)
    return made_here


if __name__ == "__main__":
    main()
