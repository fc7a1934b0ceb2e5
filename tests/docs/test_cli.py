"""docs/cli.md: every command and option is there, and the JSON tables say what is really printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from desk_builder import BLOCK, ISOLATE_ID, build_site
from lab_builder import build_lab
from live_builder import RecordedSource, read_packets
from thingwarden.cli import main
from thingwarden.cli.app import root
from thingwarden.cli.invocation import Invocation
from thingwarden.cli.watch import compose_live, show_summary
from thingwarden.config import PACKAGED_MODEL, PACKAGED_SAMPLE, Settings
from thingwarden.domain.response import Refusal
from thingwarden.model.artifact import load_artifact
from thingwarden.respond.policy import proposal_id
from thingwarden.respond.rules import PolicySettings

RECIPE = Path(__file__).parents[2] / "recipes" / "lab-corpus.toml"
EVERYWHERE = {"--json", "--debug", "--config", "--help", "--version"}


@pytest.fixture(scope="module")
def page() -> str:
    """docs/cli.md."""
    return (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.delenv("THINGWARDEN_CONFIG", raising=False)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{path} {name}", command


def test_every_command_is_documented(page: str) -> None:
    paths = [path for path, _ in _commands(root, "thingwarden")]
    assert paths
    missing = [
        path for path in paths if f"`{path}" not in page and f"`{path.removeprefix('thingwarden ')}`" not in page
    ]
    assert not missing


def test_every_option_is_documented(page: str) -> None:
    options = {
        option
        for _, command in _commands(root, "thingwarden")
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert {option for option in options - EVERYWHERE if f"`{option}" not in page} == set()


def _documented_keys(page: str) -> dict[str, set[str]]:
    """Keys by record type, from the tables under JSON lines."""
    tables: dict[str, set[str]] = {}
    for section in page.split("\n#### ")[1:]:
        name = section[1 : section.index("`", 1)]
        first_cells = (line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
        tables[name] = {key for cell in first_cells for key in re.findall(r"`([a-z_0-9]+)`", cell)}
    return tables


def _records(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    main([*words, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _desk_records(capsys: pytest.CaptureFixture[str], folder: Path) -> list[dict[str, Any]]:
    """What an operator's commands print on a site with two proposals and a decision that was never applied."""
    folder.mkdir()
    site = build_site(folder, is_enforced=False)
    at = ("--config", str(site.config))
    other = site.write(BLOCK, PolicySettings(is_monitor_only=True))
    assert isinstance(other, Refusal)
    records = _records(capsys, "decisions", "list", *at)
    records += _records(capsys, "decisions", "refuse", proposal_id(BLOCK), "--reason", "a test", *at)
    records += _records(capsys, "decisions", "approve", ISOLATE_ID, "--yes", *at)
    site.write(BLOCK, PolicySettings())
    for words in (
        ("decisions", "reconcile"),
        ("decisions", "list"),
        ("panic",),
        ("audit", "verify"),
        ("audit", "export"),
    ):
        records += _records(capsys, *words, *at)
    return records


def _watched(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What ``watch`` prints, were it to see the packaged sample on an interface."""
    invocation = Invocation()
    invocation.wants_json = True
    source = RecordedSource(read_packets(PACKAGED_SAMPLE), 1000)
    live = compose_live(invocation, source, load_artifact(PACKAGED_MODEL), None, Settings(), source.clock)
    show_summary(invocation, live.run(lambda: False), {"not_ip": 1})
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _policy_records(capsys: pytest.CaptureFixture[str], broken: Path) -> list[dict[str, Any]]:
    cases = Path(__file__).parents[1] / "cases" / "policy" / "default.toml"
    records = _records(capsys, "policy", "check", str(broken)) + _records(capsys, "policy", "test", str(cases))
    return records + _records(capsys, "policy", "explain", "192.168.1.7")


def test_json_lines_have_the_documented_keys_and_no_others(
    page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documented = _documented_keys(page)
    broken = tmp_path / "broken.toml"
    broken.write_text("[detect]\nfoo = 1\n")
    flows = tmp_path / "flows.jsonl"
    records = _records(capsys, "demo") + _watched(capsys)
    records += _records(capsys, "replay", str(PACKAGED_SAMPLE), "--flows", str(flows))
    incident = next(record for record in records if record["type"] == "incident")
    records += _records(capsys, "incidents", "show", str(incident["incident_id"]))
    records += _records(capsys, "devices") + _records(capsys, "incidents")
    records += _records(capsys, "meter", str(PACKAGED_SAMPLE), "-o", str(tmp_path / "conn.log"))
    records += _records(capsys, "model", "show") + _records(capsys, "model", "verify")
    records += _records(capsys, "config", "check", str(broken)) + _records(capsys, "config", "default")
    records += _records(capsys, "config", "show", "--origin")
    records += _records(capsys, "lab", "list") + _records(capsys, "lab", "describe", "sample")
    records += _records(capsys, "lab", "clean")
    records += _records(
        capsys, "lab", "run", "sample", "--simulated", "--duration-s", "10", "--out", str(tmp_path / "lab")
    )
    corpus = tmp_path / "corpus"
    records += _records(capsys, "lab", "corpus", str(RECIPE), "--networks", "1", "--jobs", "1", "--out", str(corpus))
    growth = ("--out", str(tmp_path), "--picture", str(tmp_path / "growth.svg"))
    records += _records(capsys, "bench", "growth", str(corpus), *growth)
    weeks = build_lab(tmp_path / "weeks", networks=1, counted=1)
    records += _records(capsys, "bench", "weeks", str(weeks), "--out", str(tmp_path))
    attacked = build_lab(tmp_path / "attacked", networks=8, counted=0)
    records += _records(capsys, "bench", "reasons", str(attacked), "--out", str(tmp_path))
    kept = ("--out", str(tmp_path), "--kept", str(tmp_path / "kept"))
    records += _records(capsys, "bench", "evasion", str(weeks), "--evasion", "jitter", *kept)
    records += _desk_records(capsys, tmp_path / "site")
    records += _policy_records(capsys, broken)
    records += [{"type": "flow_verdict", **json.loads(line)} for line in flows.open()]
    assert records
    for record in records:
        assert set(record) - {"type"} == documented[record["type"]], record["type"]
    not_run_here = {"trained", "zeek_agreement", "metering_speed", "domain_gap", "early", "hard_negatives", "latency"}
    not_run_here |= {"enforcement", "response", "fuzzed"}
    assert {record["type"] for record in records} | not_run_here | {"refusal"} == set(documented)


def test_evaluate_prints_the_documented_object(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(PACKAGED_SAMPLE), "--label", "benign", "--json"])
    figures = json.loads(capsys.readouterr().out)
    section = page.split("### `thingwarden evaluate")[1].split("\n### ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {key for cell in first_cells for key in re.findall(r"`([a-z_]+)`", cell)} == set(figures)
    for key in ("by_row", "incidents"):
        for inner in figures[key]:
            assert f"`{inner}`" in section
