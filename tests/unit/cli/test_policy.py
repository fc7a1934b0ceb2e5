"""``thingwarden policy``: what it says, to people and programs, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desk_builder import build_site
from thingwarden.cli import main
from thingwarden.config import PLAN_SCHEMA
from thingwarden.policy_file import PACKAGED_POLICY

Capsys = pytest.CaptureFixture[str]
CASES = Path(__file__).parents[2] / "cases" / "policy"


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.delenv("THINGWARDEN_CONFIG", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(f'[policy]\nfile = "{CASES / "clinic-policy.toml"}"\n')
    return file


def records(capsys: Capsys, *words: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["policy", *words, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_check_tells_warnings_and_problems(tmp_path: Path, capsys: Capsys) -> None:
    assert main(["policy", "check"]) == 0
    assert f"{PACKAGED_POLICY} is valid." in capsys.readouterr().out
    code, (found,) = records(capsys, "check", str(CASES / "clinic-policy.toml"))
    assert (code, found["is_valid"], len(found["warnings"])) == (0, True, 1)
    broken = tmp_path / "broken.toml"
    broken.write_text("[orders]\nfoo = 1\nmax_ttl_s = 0.0\n")
    code, found = records(capsys, "check", str(broken))
    assert (code, [item["type"] for item in found]) == (2, ["policy_problem"] * 2 + ["policy_check"])
    assert main(["policy", "check", str(broken)]) == 2
    captured = capsys.readouterr()
    assert "orders.max_ttl_s" in captured.out
    assert "2 rules refused" in captured.err


def verdicts(found: list[dict[str, Any]], side: str = "device") -> dict[str, str]:
    return {item["act"]: item["verdict"] for item in found if item.get("as") == side}


def test_explain_says_who_what_and_by_which_rule(config: Path, capsys: Capsys) -> None:
    code, found = records(capsys, "explain", "02:00:5E:00:00:14", "--config", str(config))
    about = found[0]
    assert (code, about["label"], about["role"], about["automatic_up_to"]) == (0, "ward pump", "medical", "rate_limit")
    assert verdicts(found) == {
        "rate_limit": "ordered", "block_flow": "approval", "quarantine": "approval", "isolate": "approval",
    }  # fmt: skip
    assert verdicts(found, "peer") == {}
    _, found = records(capsys, "explain", "10.1.0.50", "--approved", "--config", str(config))
    assert set(verdicts(found).values()) | set(verdicts(found, "peer").values()) == {"forbidden"}
    assert main(["policy", "explain", "10.1.0.30", "--act", "rate_limit", "--config", str(config)]) == 0
    assert "new scanner is in monitor mode" in " ".join(capsys.readouterr().out.split())


def test_explain_reads_what_the_journal_knows(tmp_path: Path, capsys: Capsys) -> None:
    site = build_site(tmp_path)
    code, found = records(capsys, "explain", "192.168.1.10", "--journal", str(site.journal))
    assert (code, found[0]["host"]) == (0, "192.168.1.10")


@pytest.mark.parametrize("host", ["camera", "192.168.1", "02:00:5e", ""])
def test_a_host_is_an_address_or_a_mac(host: str, capsys: Capsys) -> None:
    assert main(["policy", "explain", host]) == 2
    assert "neither an address nor a MAC" in capsys.readouterr().err


def test_cases_that_fail_are_shown_and_are_exit_code_1(config: Path, capsys: Capsys) -> None:
    assert main(["policy", "test", str(CASES / "clinic.toml"), "--config", str(config)]) == 0
    assert capsys.readouterr().out == "12 cases, 0 failed.\n"
    assert main(["policy", "test", str(CASES / "clinic.toml")]) == 1
    assert "an infusion pump" not in capsys.readouterr().out
    code, found = records(capsys, "test", str(CASES / "default.toml"))
    assert (code, {item["has_passed"] for item in found}) == (0, {True})


def test_exports_are_json(capsys: Capsys) -> None:
    assert main(["policy", "export", "--cacao"]) == 0
    assert json.loads(capsys.readouterr().out)["spec_version"] == "cacao-2.0"
    assert main(["policy", "export"]) == 2
    capsys.readouterr()
    assert main(["policy", "schema"]) == 0
    assert capsys.readouterr().out == PLAN_SCHEMA.read_text()
    assert main(["policy", "default"]) == 0
    assert capsys.readouterr().out == PACKAGED_POLICY.read_text()
