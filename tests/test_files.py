"""Files appear whole or not at all, whatever goes wrong, and hold the same bytes for the same content."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.experiment import files
from pipeline.experiment.errors import UserError

pytestmark = pytest.mark.unit


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path):
    path = tmp_path / "some" / "folder" / "file"
    files.write_atomically(path, b"one")
    files.write_atomically(path, b"\x00two\r\n")
    assert path.read_bytes() == b"\x00two\r\n"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done: list[Any] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(number: int) -> None:
        done.append(("on disk", os.fstat(number).st_size))
        fsync(number)

    def seen_replace(old: Path, new: Path) -> None:
        done.append(("named", old.parent == new.parent, old.name != new.name))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    files.write_atomically(tmp_path / "file", b"12345")
    assert done == [("on disk", 5), ("named", True, True)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch, number: int, call: str):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    fails(monkeypatch, call, number)
    with pytest.raises(UserError, match=rf"file cannot be written: {os.strerror(number)}; make room, and run the same"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file", "Input/output error"),
        ("file/in", "Not a directory|File exists"),
        ("x" * 300 + "/in", "File name too long"),
    ],
)
def test_any_other_failure_is_one_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str):
    (tmp_path / "file").write_bytes(b"old")
    fails(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(UserError, match=f"cannot be written: ({reason}); mend that, and run the same again"):
        files.write_atomically(tmp_path / path, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def fails(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)


def test_a_stop_in_the_middle_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_exact_and_one_value_a_line(tmp_path: Path):
    files.write_json(tmp_path / "file.json", {"b": 0.1 + 0.2, "a": [1, None]})
    text = '{\n  "a": [\n    1,\n    null\n  ],\n  "b": 0.30000000000000004\n}\n'
    assert (tmp_path / "file.json").read_text() == text
    assert files.read_json(tmp_path / "file.json") == json.loads(text)
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            files.to_json({"a": number})


def test_what_is_not_there_is_empty_and_what_is_damaged_is_no_error(tmp_path: Path):
    assert files.read_text(tmp_path / "file") == ""
    assert files.read_json(tmp_path / "file") == {}
    (tmp_path / "file").write_bytes(b"a\xffb")
    assert files.read_text(tmp_path / "file") == "a\ufffdb"


def test_yaml_is_sorted_and_writes_equal_values_out(tmp_path: Path):
    shared = [1.5]
    files.write_yaml(tmp_path / "file.yaml", {"b": shared, "a": shared, "c": {"z": None, "y": "no"}})
    text = (tmp_path / "file.yaml").read_text()
    assert text == "a:\n- 1.5\nb:\n- 1.5\nc:\n  y: 'no'\n  z: null\n"
    assert yaml.safe_load(text) == {"a": [1.5], "b": [1.5], "c": {"z": None, "y": "no"}}
