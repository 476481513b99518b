"""What ``make verify`` says when all has run: a table of the outputs, and what their differences mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.experiment.records import Record, record_of
from tools.verification.recorded import Recorded
from tools.verification.rerun import Outcome, Result


def print_table(stages: Mapping[str, Recorded], results: Mapping[str, Result]) -> None:
    """Print a line an output, in the order of the pipeline."""
    print(f"\n{'output':<36} {'expected':<10} {'got':<10} equal")
    for name, stage in stages.items():
        got = results[name].outputs
        for path in sorted(stage.outputs | got):
            digests = [digests.get(path, "none") for digests in (stage.outputs, got)]
            equal = "yes" if digests[0] == digests[1] else "NO"
            print(f"{path:<36} {digests[0][:8]:<10} {digests[1][:8]:<10} {equal}")


def verdict(outcomes: Mapping[str, Outcome]) -> str:
    """Which stage is the first that is not as recorded, and what became of those after it."""
    names = list(outcomes)
    first = next(name for name in names if outcomes[name] is not Outcome.EQUAL)
    after = names[names.index(first) + 1 :]
    sentence = f"{first} is the first stage that {outcomes[first]}"
    if unknown := [name for name in after if outcomes[name] is Outcome.NOT_RUN]:
        return (
            f"{sentence}; of {_enumerated(unknown)} nothing is known: neither this repository's cache nor its remote "
            "gave the recorded policy"
        )
    given = ", run on the recorded policy," if first == "train" else ""
    if after and all(outcomes[name] is Outcome.EQUAL for name in after):
        return f"{sentence}, and the only one: {_enumerated(after)}{given} came out as recorded"
    return "; ".join([sentence, *(f"{name}{given} {outcomes[name]}" for name in after)])


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def other_gpus(records: Sequence[Record], stages: Mapping[str, Recorded], here: Sequence[str]) -> list[str]:
    """Say for each kind of GPU that ``stages`` were recorded on that it is not here; the card needs no device."""
    made = [record_of(records, name, stage.outputs) for name, stage in stages.items()]
    there = {", ".join(run["machine"]["gpus"]) for run in made if run and run.get("device", "cpu").startswith("cuda")}
    ours = ", ".join(here)
    return [
        f"recorded on {gpus}; here is {ours or 'no GPU'}: another GPU makes other bits"
        for gpus in sorted(there - {ours})
    ]
