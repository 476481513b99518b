"""What dvc.lock says of each stage that was run, and what in a folder is not what it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dvc.ignore import DvcIgnoreFilter
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import localfs

from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import CHECKED, LOCK_FILE, PARAMS_FILE, PIPELINE_FILE

Digests = dict[str, str]  # the MD5 of files and folders, as DVC has it, by path


class Recorded(NamedTuple):
    """What dvc.lock has of a stage: what it was made from, and what it made."""

    command: str
    params: dict[str, dict[str, Any]]  # the sections, by file
    inputs: Digests
    outputs: Digests


def recorded_stages(folder: Path) -> dict[str, Recorded]:
    """Read the stages that dvc.lock of ``folder`` has."""
    return stages_of(read_sections(folder / LOCK_FILE), read_sections(folder / PIPELINE_FILE))


def stages_of(lock: dict[str, Any], pipeline: dict[str, Any]) -> dict[str, Recorded]:
    """List the stages in the content of a dvc.lock, in the order of a dvc.yaml, which is that of the pipeline."""
    entries = lock.get("stages", {})
    return {name: _recorded(entries[name]) for name in pipeline.get("stages", {}) if name in entries}


def _recorded(entry: dict[str, Any]) -> Recorded:
    inputs, outputs = ({file["path"]: file["md5"] for file in entry.get(kind, [])} for kind in ("deps", "outs"))
    outputs.pop(str(CHECKED), None)  # which is no result
    return Recorded(entry["cmd"], entry.get("params", {}), inputs, outputs)


def up_to_date(stages: dict[str, Recorded]) -> dict[str, Recorded]:
    """Those of ``stages`` that were made from the outputs of the others that stand beside them in dvc.lock.

    An experiment of one stage alone leaves those after it as they were: made from older outputs.
    """
    made: dict[str, str | None] = {path: md5 for stage in stages.values() for path, md5 in stage.outputs.items()}
    found = {}
    for name, stage in stages.items():
        if all(made.get(path, md5) == md5 for path, md5 in stage.inputs.items()):
            found[name] = stage
        else:
            made |= dict.fromkeys(stage.outputs)  # older, so that what was made from them is older, too
    return found


def untrue(folder: Path, stages: dict[str, Recorded]) -> list[str]:
    """List what in ``folder`` is not what ``stages`` were made from, or have made. Missing files are not listed."""
    commands = read_sections(folder / PIPELINE_FILE).get("stages", {})
    found = []
    for name, stage in stages.items():
        if commands.get(name, {}).get("cmd") != stage.command:
            found.append(f"the command of {name} in {PIPELINE_FILE}")
        for file, sections in stage.params.items():
            there = read_sections(folder / file)
            found += [f"{key} in {file}" for key, value in sections.items() if there.get(key) != value]
    files = {path: md5 for stage in stages.values() for path, md5 in (stage.inputs | stage.outputs).items()}
    found += [path for path, md5 in _digests(folder, files) if md5 != files[path]]
    return list(dict.fromkeys(found))


def _digests(folder: Path, paths: Digests) -> Iterator[tuple[str, str | None]]:
    """Compute the digests of the files and folders that are there.

    DVC itself would believe that a file of the same size and time is the same: it keeps a database of digests.
    """
    root = str(folder.resolve())
    nowhere = HashFileDB(localfs, os.devnull, read_only=True)
    ignore: Any = DvcIgnoreFilter(localfs, root)
    for path in paths:
        # Of params.yaml, only the sections count.
        if path != str(PARAMS_FILE) and (folder / path).exists():
            _, _, file = build(nowhere, f"{root}/{path}", localfs, "md5", dry_run=True, ignore=ignore)
            yield path, file.hash_info.value
