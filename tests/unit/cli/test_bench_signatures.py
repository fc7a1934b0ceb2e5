"""``thingwarden bench signatures``: a report comes out whether or not an engine is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packet_builder import conversation, pcap
from thingwarden.bench.suricata import reason_not_run
from thingwarden.cli import main
from thingwarden.cli.bench_signatures import SCENARIOS
from thingwarden.lab.recipe import list_scenarios


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command on a folder with one capture of one device and one rule."""
    data = tmp_path / "data"
    capture = data / "benign" / "home-devices-2020" / "plug" / "1.pcap"
    rules = data / "rules" / "tiny" / "tiny.rules"
    for path in (capture, rules):
        path.parent.mkdir(parents=True)
    capture.write_bytes(pcap(conversation()))
    rules.write_text('alert tcp any any -> any any (msg:"TEST greeting"; content:"hello"; priority:1; sid:1;)\n')
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--picture", str(tmp_path / "s.svg")]
    return ["bench", "signatures", "--data", str(data), "--no-costs", *folders]


def test_without_an_engine_the_report_says_so_and_the_command_succeeds(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(words) == 0
    assert "suricata: not run: no program named suricata" in capsys.readouterr().out
    assert "**suricata: not run**" in (tmp_path / "out" / "signatures.md").read_text()
    assert (tmp_path / "s.svg").is_file()


def test_with_suricata_its_false_alarms_are_counted(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason := reason_not_run():
        pytest.skip(reason)
    assert main([*words, "--json"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["type"] == "signatures"
    assert record["pooled"]["suricata tiny"]["benign"]["false"] == 1
    assert "snort" in record["not_run"]
    assert "TEST greeting" in (tmp_path / "out" / "signatures.md").read_text()


def test_a_folder_without_captures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "signatures", "--data", str(tmp_path)]) == 2
    assert "holds none of the public captures" in capsys.readouterr().err


def test_the_scenarios_are_packaged() -> None:
    assert set(SCENARIOS) <= {recipe.name for recipe in list_scenarios()}
