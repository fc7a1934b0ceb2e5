"""Cases of a policy: those that are shipped pass, and one that is wrong fails for the right reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.policy_file import load_policy
from thingwarden.respond.rehearse import Verdict
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.policy_cases import run_cases

CASES = Path(__file__).parents[2] / "cases" / "policy"


@pytest.mark.parametrize(("cases", "policy"), [("default.toml", None), ("clinic.toml", "clinic-policy.toml")])
def test_the_cases_hold(cases: str, policy: str | None) -> None:
    results = list(run_cases(CASES / cases, load_policy(CASES / policy if policy else None)))
    assert len(results) >= 12
    assert [result for result in results if not result.has_passed] == []


CASE = '[[case]]\nname = "a"\nact = "isolate"\nmac = "02:00:00:00:00:0a"\n'


@pytest.mark.parametrize(
    ("expected", "has_passed"),
    [
        ('expect = "approval"\n', True),
        ('expect = "approval"\nreason = "needs approval"\n', True),
        ('expect = "approval"\nreason = "allow list"\n', False),
        ('expect = "ordered"\n', False),
        ('expect = "forbidden"\n', False),
    ],
)
def test_verdict_and_reason_must_be_those_expected(tmp_path: Path, expected: str, has_passed: bool) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(CASE + expected)
    (result,) = run_cases(file, PolicySettings())
    assert (result.has_passed, result.found) == (has_passed, Verdict.APPROVAL)


@pytest.mark.parametrize(
    "text",
    ["", "[[case]]\n", CASE, CASE + 'expect = "maybe"\n', CASE + 'expect = "ordered"\nfoo = 1\n', "version = 2\n"],
)
def test_a_file_that_tests_nothing_or_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="cases"):
        list(run_cases(file, PolicySettings()))
