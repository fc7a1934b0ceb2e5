"""Every source file has its test file, its docstring and a readable size."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "thingwarden"
UNIT_TESTS = Path(__file__).resolve().parents[1] / "unit"
SOURCES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

TESTED_ELSEWHERE = {
    Path("__main__.py"): "one call; tests/unit/cli/test_app.py runs it",
    Path("domain/ports.py"): "protocols only; tests/contracts holds their implementations to them",
    Path("lab/world.py"): "a port; test_world.py of lab/real and lab/simulated hold both worlds to it",
}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 45
MAX_MEDIAN_FUNCTION_LINES = 12
VAGUE_MODULES = {"utils", "util", "common", "core", "helpers", "helper", "manager", "misc"}
UNITLESS_NAMES = {"time", "ts", "window", "size"}


def test_every_source_has_a_test_file_of_its_own() -> None:
    untested = {
        str(source) for source in SOURCES if not (UNIT_TESTS / source.with_name(f"test_{source.name}")).is_file()
    }
    assert untested == {str(source) for source in TESTED_ELSEWHERE}


def test_every_unit_test_file_has_its_source() -> None:
    tests = {path.relative_to(UNIT_TESTS) for path in UNIT_TESTS.rglob("test_*.py")}
    mirrored = {source.with_name(f"test_{source.name}") for source in SOURCES}
    packages = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")} - {Path()}
    mirrored |= {package.with_name(f"test_{package.name}.py") for package in packages}
    assert not tests - mirrored


def test_module_docstrings_say_what_comes_in_and_out_and_what_never_happens() -> None:
    silent = []
    for source in SOURCES:
        docstring = ast.get_docstring(_tree(source)) or ""
        if not all(part in docstring for part in ("In: ", "Out: ", "Must never: ")):
            silent.append(str(source))
    assert not silent


def test_modules_are_nouns_of_readable_length() -> None:
    vague = [str(source) for source in SOURCES if VAGUE_MODULES.intersection(source.with_suffix("").parts)]
    long = [str(source) for source in SOURCES if len((PACKAGE / source).read_text().splitlines()) > MAX_FILE_LINES]
    assert not vague
    assert not long


def _tree(source: Path) -> ast.Module:
    return ast.parse((PACKAGE / source).read_text())


def _functions() -> list[tuple[str, int]]:
    return [
        (f"{source}:{node.name}", _line_count(node))
        for source in SOURCES
        for node in ast.walk(_tree(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _line_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring_lines = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring_lines


def test_functions_are_short() -> None:
    functions = _functions()
    too_long = {name: lines for name, lines in functions if lines > MAX_FUNCTION_LINES}
    assert not too_long
    assert statistics.median(lines for _, lines in functions) <= MAX_MEDIAN_FUNCTION_LINES


def test_names_carry_their_unit() -> None:
    vague = [
        f"{source}:{node.lineno} {name}"
        for source in SOURCES
        for node in ast.walk(_tree(source))
        if isinstance(node, ast.arg | ast.Name) and (name := _bound_name(node)) in UNITLESS_NAMES
    ]
    assert not vague


def _bound_name(node: ast.arg | ast.Name) -> str:
    """The name that this node binds; empty where it only reads one."""
    if isinstance(node, ast.arg):
        return node.arg
    return node.id if isinstance(node.ctx, ast.Store) else ""


def _tracked_text(repository: Path) -> list[tuple[Path, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    texts = []
    for name in filter(None, listed.stdout.split("\0")):
        path = repository / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            texts.append((Path(name), content.decode("utf-8", "replace")))
    return texts


def test_no_path_of_one_machine_is_written_down(repository: Path) -> None:
    private = re.compile(r"/work/(main|shared)|/home/[a-z]+/|/root/|/Users/[A-Za-z]+/")
    found = [
        f"{name}:{number}"
        for name, text in _tracked_text(repository)
        if name != Path("tests/architecture/test_layout.py")
        for number, line in enumerate(text.splitlines(), 1)
        if private.search(line)
    ]
    assert not found


def test_nothing_is_left_for_later(repository: Path) -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b|unittest\.mock import|import unittest\.mock")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in _tracked_text(repository)
        if name.suffix == ".py" and name != Path("tests/architecture/test_layout.py")
        for number, line in enumerate(text.splitlines(), 1)
        if later.search(line)
    ]
    assert not found
