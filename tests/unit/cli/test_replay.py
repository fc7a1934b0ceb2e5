"""``thingwarden replay`` and ``demo``: what is printed, written down and returned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from thingwarden.cli import main
from thingwarden.config import PACKAGED_SAMPLE
from thingwarden.lab.truth import read_truth
from thingwarden.serve.store import Journal

QUIET_LOG = (
    "#separator \\x09\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\n"
    "1700000000.0\tC1\t192.168.1.5\t40000\t192.168.1.1\t53\tudp\tdns\t0.01\t30\t60\tSF\n"
)


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.delenv("THINGWARDEN_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def quiet_log(tmp_path: Path) -> Path:
    """One answered DNS question."""
    file = tmp_path / "conn.log"
    file.write_text(QUIET_LOG)
    return file


def _records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_sample_is_judged_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flows = tmp_path / "flows.jsonl"
    assert main(["replay", str(PACKAGED_SAMPLE), "--json", "--flows", str(flows)]) == 0
    records = _records(capsys.readouterr().out)
    summary = records[-1]
    assert summary["type"] == "replay_summary"
    by_type = {kind: [record for record in records if record["type"] == kind] for kind in ("device", "incident")}
    assert len(by_type["device"]) == summary["device_count"]
    assert len(by_type["incident"]) == summary["incident_count"] > 0
    assert sum(1 for line in flows.open() if json.loads(line)) == summary["flow_count"]
    with Journal(tmp_path / "home" / "thingwarden" / "journal.sqlite", is_read_only=True) as journal:
        assert {incident["incident_id"] for incident in journal.incidents()} == {
            incident["incident_id"] for incident in by_type["incident"]
        }
        assert journal.verify().broken_at is None


def test_people_see_devices_evidence_and_planned_acts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(PACKAGED_SAMPLE), "--no-journal"]) == 0
    shown = capsys.readouterr().out
    for part in ("10 devices", "evidence: the", "plan", "Dry run: nothing was changed."):
        assert part in shown


def test_incidents_fail_a_script_that_asks_for_it(quiet_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(PACKAGED_SAMPLE), "--no-journal", "--fail-on", "incident", "--json"]) == 1
    assert main(["replay", str(quiet_log), "--no-journal", "--fail-on", "incident", "--json"]) == 0
    assert _records(capsys.readouterr().out)[-1]["incident_count"] == 0


def test_one_is_not_many(quiet_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(quiet_log), "--no-journal"]) == 0
    shown = capsys.readouterr().out
    assert "2 devices" in shown
    assert "1 flow of 2 devices judged" in shown
    assert "0 incidents, 0 acts planned" in shown


def test_no_journal_leaves_nothing_behind(quiet_log: Path, tmp_path: Path) -> None:
    assert main(["replay", str(quiet_log), "--no-journal"]) == 0
    assert not (tmp_path / "home").exists()


def test_the_named_journal_is_used(quiet_log: Path, tmp_path: Path) -> None:
    assert main(["replay", str(quiet_log), "--journal", str(tmp_path / "own.sqlite")]) == 0
    with Journal(tmp_path / "own.sqlite", is_read_only=True) as journal:
        assert [device["name"] for device in journal.devices()] == ["192.168.1.1", "192.168.1.5"]


def test_several_paths_are_parts_of_the_same_traffic(
    quiet_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = tmp_path / "later.log"
    later.write_text(QUIET_LOG.replace("1700000000.0\tC1", "1700000060.0\tC2"))
    assert main(["replay", str(later), str(quiet_log), "--no-journal", "--json"]) == 0
    summary = _records(capsys.readouterr().out)[-1]
    assert (summary["flow_count"], summary["device_count"]) == (2, 2)
    assert summary["first_seen_at"].startswith("2023-11-14T22:13:20")


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["missing.pcap"], 2, "missing.pcap"),
        (["--no-journal", "--journal", "x.sqlite", "LOG"], 2, "exclude each other"),
        (["--model", "nowhere", "LOG"], 4, "nowhere"),
        (["--format", "pcap", "LOG"], 3, "conn.log"),
        (["-", "-"], 2, "more than once"),
        ([], 2, "PATH"),
    ],
)
def test_refusals_say_what_is_wrong(
    words: list[str], exit_code: int, said: str, quiet_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(quiet_log) if word == "LOG" else word for word in words]
    assert main(["replay", *arguments]) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


def write_policy(config: Path, text: str) -> None:
    policy = config.with_name("policy.toml")
    policy.write_text(text)
    config.write_text(f'[policy]\nfile = "{policy}"\n')


def test_settings_reach_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    write_policy(config, "[orders]\nis_monitor_only = true\n")
    assert main(["replay", str(PACKAGED_SAMPLE), "--no-journal", "--json", "--config", str(config)]) == 0
    records = _records(capsys.readouterr().out)
    assert {record["act"] for record in records if record["type"] == "decision"} <= {"notify"}
    refusals = [record for record in records if record["type"] == "refusal"]
    assert any("monitor mode: nothing is ordered" in refusal["reasons"] for refusal in refusals)


def test_an_allow_listed_network_is_never_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    write_policy(config, '[allowed]\nnetworks = ["10.77.0.0/24"]\n')
    assert main(["replay", str(PACKAGED_SAMPLE), "--no-journal", "--json", "--config", str(config)]) == 0
    records = _records(capsys.readouterr().out)
    restricted = [record for record in records if record["type"] == "decision" and record["act"] != "notify"]
    assert all(record["target"]["device"] is None for record in restricted)


def test_demo_scores_every_attack_of_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    from thingwarden.config import PACKAGED_TRUTH

    assert main(["demo", "--json"]) == 0
    records = _records(capsys.readouterr().out)
    scored = {record["name"] for record in records if record["type"] == "attack_score"}
    assert scored == {interval.name for interval in read_truth(PACKAGED_TRUTH).intervals}
    assert records[-1]["type"] == "sample_score"


def test_demo_can_be_kept_as_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "demo.svg"
    assert main(["demo", "--svg", str(picture)]) == 0
    drawn = picture.read_text()
    assert drawn.startswith('<svg xml:space="preserve"')
    assert "url(" not in drawn.replace("url(#", "")
    words = re.sub("<[^>]*>", " ", drawn).replace("&#160;", " ").split()
    assert "Dry run: nothing was changed." in " ".join(words)
    assert "against the truth" in capsys.readouterr().out


def _alert(**members: object) -> str:
    ends = {"src_ip": "192.168.1.5", "src_port": 40000, "dest_ip": "192.168.1.1", "dest_port": 53, "proto": "UDP"}
    rule = {"signature_id": 7, "severity": 1, "signature": "TEST tunnel", "category": "A Network Trojan was detected"}
    event = {"timestamp": "2023-11-14T22:13:20.005+0000", "event_type": "alert", **ends, "alert": rule, **members}
    return json.dumps(event) + "\n"


def test_an_alert_opens_an_incident_that_is_written_down_and_shown(
    quiet_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eve.json").write_text(_alert() + _alert(src_port=9))
    journal = tmp_path / "journal.sqlite"
    words = ["replay", str(quiet_log), "--alerts", str(tmp_path / "eve.json"), "--journal", str(journal)]
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    (incident,) = (record for record in _records(printed.out) if record["type"] == "incident")
    (sighting,) = incident["sightings"]
    assert (sighting["name"], sighting["quote"], sighting["grade"]) == ("Suricata signature 7", "TEST tunnel", "high")
    assert incident["summary"].endswith("Suricata signature 7 fired")
    assert "1 of 2 alerts belong to none of these flows" in printed.err
    assert main(["incidents", "show", incident["incident_id"], "--journal", str(journal)]) == 0
    assert 'also  Suricata signature 7: "TEST tunnel"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--alerts", "not json\n", "line 1: expected one JSON object"),
        ("--alerts", _alert(src_ip="x"), "line 1, src_ip: expected an IPv4 or IPv6 address"),
        ("--indicators", "203.0.113.5\n!\n", "line 2: expected an address"),
        ("--indicators", '{"type": "bundle"}', "no STIX bundle"),
    ],
)
def test_knowledge_that_is_not_what_it_claims_to_be_ends_the_command(
    quiet_log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, content: str, said: str
) -> None:
    (tmp_path / "known").write_text(content)
    assert main(["replay", str(quiet_log), "--no-journal", option, str(tmp_path / "known")]) == 3
    error = " ".join(capsys.readouterr().err.replace("why:", "").split()).replace("known ", "known, ", 1)
    assert all(part in error for part in said.split(": ")), error
