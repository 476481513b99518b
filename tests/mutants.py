"""Put small faults into the code, one at a time, and run the tests of that file (`make mutants`).

A fault that these tests let pass is printed. It needs a better test, or it changes nothing that matters. Faults of the
second kind are listed in `mutants.txt` beside this file, each with the reason. They are not tried.
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

# Every test process is forked from this one. What takes seconds to import is imported here, once.
import pytest
import scipy.stats  # noqa: F401
import stable_baselines3  # noqa: F401
import torch
from tqdm import tqdm

from tests.conftest import ROOT, begin_repository

# The files in which a fault changes a result, with the tests that are meant to notice it.
TESTS = {
    "pipeline/evaluation/cartpole.py": "test_evaluation",
    "pipeline/evaluation/episodes.py": "test_evaluation",
    "pipeline/evaluation/evaluate.py": "test_evaluation",
    "pipeline/evaluation/statistics.py": "test_statistics test_evaluation",
    "pipeline/experiment/inputs.py": "test_inputs",
    "pipeline/experiment/metrics.py": "test_metrics",
    "pipeline/experiment/params.py": "test_params test_bad_input",
    "pipeline/experiment/params_file.py": "test_params test_bad_input",
    "pipeline/experiment/param_types.py": "test_params test_bad_input test_agent",
    "pipeline/experiment/provenance.py": "test_provenance_record test_inputs",
    "pipeline/experiment/records.py": "test_records test_provenance_record",
    "pipeline/experiment/resume_store.py": "test_resume_store",
    "pipeline/policy/inference.py": "test_policy",
    "pipeline/policy/network.py": "test_policy test_agent",
    "pipeline/policy/policy.py": "test_policy",
    "pipeline/policy/sb3_arguments.py": "test_policy test_agent",
    "pipeline/policy/schema.py": "test_policy test_export",
    "pipeline/ppo/loss.py": "test_ppo",
    "pipeline/ppo/ppo.py": "test_ppo",
    "pipeline/ppo/rollout_buffer.py": "test_rollout_buffer test_ppo",
    "pipeline/ppo/update.py": "test_ppo",
    "pipeline/ppo/vec_normalize.py": "test_vec_normalize test_ppo",
    "pipeline/simulation/tensor_env.py": "test_tensor_env",
    "pipeline/training/agent.py": "test_agent",
    "pipeline/training/callbacks.py": "test_callbacks",
    "pipeline/training/checkpoints.py": "test_checkpoints",
    "pipeline/training/initial_policy.py": "test_initial_policy",
    "pipeline/training/optimizer_state.py": "test_training_state test_initial_policy",
    "pipeline/training/training_state.py": "test_training_state test_checkpoints test_initial_policy",
}
FORK = multiprocessing.get_context("fork")
ACCEPTED = Path(__file__).with_suffix(".txt")
PATIENCE = 5.0  # times what the tests take without a fault; one that never ends is noticed
LEAST = 0.9  # of the faults that must be noticed
UNSEEN = ("device", "desc", "unit", "strict")  # arguments that decide nothing on a CPU, of a progress bar, or of a zip

SWAPPED: dict[type, Any] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}


class Fault(NamedTuple):
    """A file with one small fault in it."""

    path: str
    line: int
    code: str  # of that line, as it is
    change: str
    source: str  # of the whole file

    @property
    def name(self) -> str:
        """What stays the same when other lines of the file come or go."""
        return f"{self.path}: {self.code}: {self.change}"


def faults(path: str) -> Iterator[Fault]:
    """Every fault that can be put into a file: another operator, number, condition or order, or something left out."""
    source = (ROOT / path).read_text()
    for index, node in enumerate(_nodes(ast.parse(source))):
        for number, other in enumerate(_replacements(node)):
            tree = ast.parse(source)  # another one, to be changed
            target = list(_nodes(tree))[index]
            whole = _Replace(target, list(_replacements(target))[number]).visit(tree)
            change = f"{ast.unparse(node)}  ->  {ast.unparse(other)}"
            code = source.splitlines()[node.lineno - 1].strip()
            yield Fault(path, node.lineno, code, change, ast.unparse(ast.fix_missing_locations(whole)))


def _nodes(node: ast.AST) -> Iterator[Any]:
    """The nodes below ``node`` that compute: no annotations of functions, docstrings or messages."""
    for name, value in ast.iter_fields(node):
        if name in ("returns", "type_params") or (isinstance(node, ast.arg) and name == "annotation"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr) or _is_unseen(child):
                continue
            yield child
            if not isinstance(child, ast.Raise):
                yield from _nodes(child)


def _is_unseen(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg in UNSEEN


def _replacements(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901  (a table)
    """What could stand in place of ``node`` by mistake."""
    match node:
        case ast.Compare(left, [operator], right) if type(operator) in SWAPPED:
            yield ast.Compare(left, [SWAPPED[type(operator)]()], right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(SWAPPED[type(operator)](), values)
        case ast.BinOp(left, operator, right) if type(operator) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(operator)](), right)
        case ast.AugAssign(target, operator, value) if type(operator) in SWAPPED:
            yield ast.AugAssign(target, SWAPPED[type(operator)](), value)
            yield ast.Pass()
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.If(ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() as test, body, others):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, others)
        case ast.IfExp(ast.Name() | ast.Attribute() | ast.Call() as test, body, other):
            yield ast.IfExp(test, other, body)
        case ast.Expr(ast.Call(ast.Name(id="print"))):
            pass
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Call(function, arguments, keywords):
            if len(arguments) > 1:
                yield ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
            for keyword in [keyword for keyword in keywords if not _is_unseen(keyword)]:
                yield ast.Call(function, arguments, [other for other in keywords if other is not keyword])


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, other: ast.AST) -> None:
        self.target, self.other = target, other

    def visit(self, node: ast.AST) -> Any:
        return self.other if node is self.target else super().generic_visit(node)


def unnoticed(drawn: list[Fault], half: int) -> list[Fault]:
    """Try faults one after another in a copy of the project, and return those that the tests of their file let pass."""
    passed: list[Fault] = []
    sound: dict[str, float | None] = {}  # how long the tests take without a fault
    with tempfile.TemporaryDirectory() as name:
        folder = begin_repository(Path(name)).folder
        for fault in tqdm(drawn, desc=f"half {half + 1} of 2", unit="fault", position=half):
            tests, path = TESTS[fault.path], folder / fault.path
            sound[tests] = seconds = sound.get(tests) or duration(tests, folder)
            if not seconds:
                raise RuntimeError(f"{tests} fails without any fault")
            content = path.read_text()
            path.write_text(fault.source)
            if duration(tests, folder, 5 + PATIENCE * seconds):
                passed.append(fault)
            path.write_text(content)
    return passed


def duration(tests: str, folder: Path, limit: float = 600.0) -> float | None:
    """How long tests take in ``folder`` [s]; None if one fails, or if they are not done after ``limit`` seconds."""
    started = time.monotonic()
    tested = FORK.Process(target=_test, args=(tests, folder))
    tested.start()
    tested.join(limit)
    if tested.is_alive():
        os.killpg(tested.pid or 0, signal.SIGKILL)
    return time.monotonic() - started if tested.exitcode == 0 else None


def _test(tests: str, folder: Path) -> None:
    """Be a process that runs tests in ``folder`` and says nothing."""
    os.setpgid(0, 0)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pipeline", "tests")]:
        del sys.modules[name]
    # Python takes old bytecode for new if both sources were written in the same second, as two faults may be.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(folder)
    sys.path[0] = str(folder)
    files = [f"tests/{name}.py" for name in tests.split()]
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-n", "0", *files]))


def main() -> None:
    """Exit with 1 if fewer than nine in ten are noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", choices=TESTS, default=list(TESTS), help="in which faults are put")
    parser.add_argument("--count", type=int, default=15, help="faults a file, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    options = parser.parse_args()
    accepted = [line.rpartition("  # ")[0] for line in ACCEPTED.read_text().splitlines()]
    drawn: list[Fault] = []
    for path in options.files:
        of_file = [fault for fault in faults(path) if fault.name not in accepted]
        drawn += random.Random(options.seed).sample(of_file, min(options.count, len(of_file)))
    torch.set_num_threads(1)  # two processes test at once
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        passed = [fault for part in pool.map(unnoticed, (drawn[::2], drawn[1::2]), range(2)) for fault in part]
    for fault in passed:
        print(f"line {fault.line} was not noticed; write a test, or list it in {ACCEPTED.name}:\n{fault.name}")
    for path in options.files:
        count, missed = (sum(fault.path == path for fault in group) for group in (drawn, passed))
        print(f"{count - missed:4} of {count:3} noticed  {path}")
    print(f"{len(drawn) - len(passed):4} of {len(drawn):3} noticed in all; {LEAST:.0%} must be")
    sys.exit(len(drawn) - len(passed) < LEAST * len(drawn))


if __name__ == "__main__":
    main()
