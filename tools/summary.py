"""Say what the pipeline made and where to look: the last words of ``make repro``."""

from __future__ import annotations

import json

from pipeline.files import read_json
from pipeline.provenance import PROVENANCE
from pipeline.stage import METRICS, MODELS, VIDEOS


def main() -> None:
    """Print the evaluation and the places of the outputs."""
    metrics = json.loads((METRICS / "evaluate.json").read_text())
    # Not of a stage whose results DVC has taken from its cache.
    made_here = {
        stage: record["seconds"]
        for stage, record in read_json(PROVENANCE).items()
        if record.get("policy_sha256") == metrics["policy_sha256"]
    }
    print(
        f"\nreturn        {metrics['return_mean']:.3f}  ({metrics['return_low']:.3f} to {metrics['return_high']:.3f})"
    )
    if "success_rate" in metrics:
        print(f"success rate  {metrics['success_rate']:.1%}")
    if made_here:
        print(f"seconds       {', '.join(f'{stage} {seconds:.0f}' for stage, seconds in made_here.items())}")
    print(f"video         {VIDEOS}/cartpole.mp4")
    print(f"policy        {MODELS}/policy.safetensors, policy.json; {MODELS}/model.zip for SB3; {MODELS}/policy.onnx")
    print("more          dvc metrics show; dvc plots show; make tensorboard")


if __name__ == "__main__":
    main()
