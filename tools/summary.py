"""Say what the pipeline made and where to look: the last words of ``make repro``."""

from __future__ import annotations

from pipeline.files import read_json, read_text
from pipeline.provenance import PROVENANCE, is_of
from pipeline.stage import METRICS, MODELS, VIDEOS
from pipeline.store import LOCK_FILE


def main() -> None:
    """Print the evaluation and the places of the outputs."""
    lock = read_text(LOCK_FILE)
    # Not of a stage whose results DVC has taken from its cache.
    made_here = {stage: record["seconds"] for stage, record in read_json(PROVENANCE).items() if is_of(record, lock)}
    trained, evaluated = (read_json(METRICS / f"{stage}.json") for stage in ("train", "evaluate"))
    print()
    if evaluated.get("policy_sha256") != trained.get("policy_sha256"):
        print("return        not evaluated; run `make repro`")
    elif evaluated:
        low, high = evaluated["return_low"], evaluated["return_high"]
        print(f"return        {evaluated['return_mean']:.3f}  ({low:.3f} to {high:.3f})")
        if "success_rate" in evaluated:
            print(f"success rate  {evaluated['success_rate']:.1%}")
    if made_here:
        print(f"seconds       {', '.join(f'{stage} {seconds:.0f}' for stage, seconds in made_here.items())}")
    print(f"video         {VIDEOS}/cartpole.mp4")
    print(f"policy        {MODELS}/policy.safetensors, policy.json; {MODELS}/model.zip for SB3; {MODELS}/policy.onnx")
    print("more          dvc metrics show; dvc plots show; make tensorboard")


if __name__ == "__main__":
    main()
