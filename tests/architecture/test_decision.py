"""Only policy makes decisions; what is read back was sealed by policy, and is opened in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "thingwarden"
POLICY = PACKAGE / "respond" / "policy.py"
ORDER = PACKAGE / "domain" / "order.py"


def _constructs_decision(source: str) -> bool:
    """Whether the source calls ``Decision``, by that name, by an attribute or by a name that it was given."""
    tree = ast.parse(source)
    names = {"Decision"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == "Decision" and alias.asname}
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(
        (isinstance(called, ast.Name) and called.id in names)
        or (isinstance(called, ast.Attribute) and called.attr == "Decision")
        for called in calls
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Decision(act=act)", True),
        ("response.Decision(act=act)", True),
        ("from thingwarden.domain.response import Decision as D\nD()", True),
        ("def show(decision: Decision) -> str: return str(decision)", False),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, expected: bool) -> None:
    assert _constructs_decision(source) is expected


def test_only_policy_constructs_a_decision() -> None:
    makers = {path for path in PACKAGE.rglob("*.py") if _constructs_decision(path.read_text())}
    assert makers == {POLICY, ORDER}
