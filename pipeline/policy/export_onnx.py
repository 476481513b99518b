"""The policy as an ONNX graph. The same values make the same bytes."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import Message

from pipeline.experiment.files import write_atomically
from pipeline.policy.policy import Policy

OPSET = 12  # the oldest that has every activation; torch's default is newer than many runtimes on robots


def export_onnx(path: Path, policy: Policy) -> None:
    """Write the policy as an ONNX graph, with normalisation and the bounds of the actions folded in.

    Args:
        path: Where to write it. The graph maps ``observations``, as the environment gives them, float32
            [batch, observations], to ``actions``, float32 [batch, actions], for any batch.
        policy: The policy. The graph's metadata say what its numbers mean (:class:`pipeline.policy.schema.Signals`).
    """
    example = torch.zeros(2, policy.observation_space.shape[0])
    settings: dict[str, Any] = {"input_names": ["observations"], "output_names": ["actions"], "opset_version": OPSET}
    batch = {"observations": {0: "batch"}, "actions": {0: "batch"}}
    file: Any = io.BytesIO()  # taken by the exporter, whose annotation forgets it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # The newer exporter (dynamo=True) takes five to twenty seconds for this graph; this one takes less than one.
        torch.onnx.export(policy.for_inference("cpu"), (example,), file, dynamo=False, dynamic_axes=batch, **settings)
    graph = onnx.load_model_from_string(file.getvalue())
    _strip(graph)
    onnx.helper.set_model_props(graph, _metadata(policy))
    onnx.checker.check_model(graph)
    write_atomically(path, graph.SerializeToString(deterministic=True))


def _metadata(policy: Policy) -> dict[str, str]:
    """Describe inputs and outputs for whoever has the file alone, as texts, which ONNX takes."""
    signals = policy.signals.model_dump() if policy.signals else {}
    return {
        "task": policy.task,
        "policy_sha256": policy.sha256,
        "normalization": "inside: give observations as the environment does",
        **{name: json.dumps(value, sort_keys=True) for name, value in sorted(signals.items())},
    }


def _strip(message: Message) -> None:
    """Remove what describes the exporting program and its files, at every level."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props", "producer_name", "producer_version"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for item in value if field.is_repeated else (value,):
                _strip(item)
