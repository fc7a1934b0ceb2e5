"""Contestants judge the same packets; what was judged is kept; who cannot run is named with the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alert_builder import START_S, Ends, build_alerts, build_flows
from packet_builder import conversation, pcap
from thingwarden.bench import signatures
from thingwarden.bench.alarms import Alarm, Judgement
from thingwarden.bench.recordings import Recording
from thingwarden.bench.signatures import (
    PRODUCT,
    Contest,
    count_acts,
    count_alarms,
    is_seen,
    join_batches,
    judge_recording,
    name_alarms,
    read_held_out,
    run_contest,
)
from thingwarden.bench.suricata import reason_not_run
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.flow import FlowBatch
from thingwarden.model.artifact import load_artifact

GREETING = 'alert tcp any any -> any any (msg:"TEST greeting"; content:"hello"; priority:1; sid:1;)\n'
CHATTER = 'alert tcp any any -> any any (msg:"TEST chatter"; content:"goodbye"; priority:3; sid:2;)\n'


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    capture = tmp_path / "data" / "day.pcap"
    rules = tmp_path / "data" / "rules" / "tiny"
    rules.mkdir(parents=True)
    capture.write_bytes(pcap(conversation()))
    (rules / "tiny.rules").write_text(GREETING + CHATTER)
    return Contest(
        recordings=(Recording(name="home/plug", collection="benign", sessions=((capture,),)),),
        artifact=load_artifact(PACKAGED_MODEL),
        rule_folders=(rules,),
        snort_configuration=None,
        snort_rules=None,
        kept=tmp_path / "kept",
    )


def test_without_engines_the_product_is_judged_and_the_reason_told(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = run_contest(contest, lambda _done, _total: None)
    assert list(found["records"]) == [PRODUCT]
    assert set(found["not_run"]) == {"suricata", "snort"}
    assert "no program" in found["not_run"]["suricata"]


def test_suricata_judges_as_packaged_and_with_any_source_and_is_not_asked_twice(contest: Contest) -> None:
    if reason := reason_not_run():
        pytest.skip(reason)
    said: list[tuple[int, int]] = []
    found = run_contest(contest, lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert list(found["records"]) == [PRODUCT, "suricata tiny", "suricata tiny, any source"]
    (record,) = found["records"]["suricata tiny"]
    assert record["benign"]["rows_said"] == 1
    assert (record["alarms"]["false"], record["alarms"]["false_loud"], record["unjoined"]) == (2, 1, 0)
    assert found["engines"]["suricata tiny"]["rules_loaded"] == 2
    kept = {path: path.stat().st_mtime_ns for path in contest.kept.rglob("*.json")}
    assert run_contest(contest, lambda _done, _total: None) == found
    assert {path: path.stat().st_mtime_ns for path in contest.kept.rglob("*.json")} == kept


def test_a_record_of_another_file_or_cut_off_is_made_anew(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    first = run_contest(contest, lambda _done, _total: None)
    (path,) = contest.kept.glob("thingwarden-*/home_plug.json")
    path.write_text("{")
    assert run_contest(contest, lambda _done, _total: None) == first
    contest.recordings[0].sessions[0][0].write_bytes(pcap([*conversation(), *conversation(30.0, client_port=40_001)]))
    (record,) = run_contest(contest, lambda _done, _total: None)["records"][PRODUCT]
    assert record["flows"] == 2


def test_what_the_card_names_was_seen(contest: Contest) -> None:
    artifact = replace(contest.artifact, card="| capture | flows |\n|---|---|\n| 42-1 | 9 |\n")
    captures = [Recording(name=name, collection="malware", sessions=()) for name in ("42-1", "2-1", "34-1")]
    assert [is_seen(capture, artifact) for capture in captures] == [True, False, False]


def _judgement(said: Sequence[bool], after_s: Sequence[float], *alarms: Alarm) -> Judgement:
    mask = np.array(said)
    return Judgement(said=mask, said_loudly=~mask, alarmed_at_s=START_S + np.array(after_s), alarms=alarms)


def test_sessions_are_counted_together_and_accused_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    flows = build_flows((0.0, Ends()), (5.0, Ends(resp_port=443)))
    monkeypatch.setattr(signatures, "load_session", lambda _recording, _paths: flows)
    false = Alarm(name="x", at_s=START_S + 4.0, is_loud=False, is_true=False, has_right_role=None)
    answers = iter([_judgement((True, False), (4.0, np.inf), false), _judgement((False, False), (np.inf, np.inf))])
    recording = Recording(name="lamp", collection="set-up", sessions=((Path("1"),), (Path("2"),)))
    record = judge_recording(recording, lambda _paths, _flows: next(answers))
    assert (record["sessions"], record["flows"], record["sessions_accused"]) == (2, 4, 1)
    assert record["sessions_accused_loudly"] == 0
    assert (record["benign"]["rows"], record["benign"]["rows_said"], record["benign"]["rows_said_loudly"]) == (4, 1, 3)
    assert record["first_alarm_after_s"] == pytest.approx(4.0)


def test_an_attack_is_found_by_the_first_alarm_on_any_of_its_flows() -> None:
    flows = build_flows((0.0, Ends()), (9.0, Ends()), (9.0, Ends()), malicious=(1, 1, 0))
    said = np.array([False, True, True])
    (act,) = count_acts(flows, said, START_S + np.array([np.inf, 11.0, 2.0])).values()
    assert act == {"class": "c2", "rows": 2, "rows_said": 1, "after_s": pytest.approx(11.0)}
    (missed,) = count_acts(flows, said, np.full(3, np.inf)).values()
    assert missed["after_s"] is None
    assert count_acts(FlowBatch.concatenate([flows.take(np.array([2]))]), said[2:], np.full(1, np.inf)) == {}


def test_alarms_are_counted_by_truth_and_name() -> None:
    alarms = [
        Alarm(name="a", at_s=0.0, is_loud=True, is_true=True, has_right_role=False),
        Alarm(name="a", at_s=0.0, is_loud=False, is_true=False, has_right_role=None),
        Alarm(name="b", at_s=0.0, is_loud=False, is_true=None, has_right_role=None),
    ]
    assert count_alarms(alarms) == {
        "true": 1, "true_loud": 1, "false": 1, "false_loud": 0, "unlabelled": 1, "unlabelled_loud": 0, "with_role": 1,
        "with_right_role": 0,
    }  # fmt: skip
    assert name_alarms(alarms)[0] == {"name": "a", "is_loud": True, "true": 1, "false": 1, "unlabelled": 0}


def test_files_of_one_session_are_one_batch() -> None:
    joined = join_batches([build_alerts((0.0, Ends())), build_alerts(), build_alerts((9.0, Ends()))])
    assert (joined.at_s - START_S).tolist() == [0.0, 9.0] and len(joined.signature) == 2


def test_the_referees_cells_of_outer_folds_are_read(tmp_path: Path) -> None:
    def cell(name: str, captures: list[dict[str, Any]]) -> None:
        (tmp_path / name).write_text(json.dumps({"captures": captures}))

    cell("flow-lm.0.seed0.json", [{"capture": "42-1", "seed": 0}])
    cell("flow-lm.0.seed1.json", [{"capture": "42-1", "seed": 1}])
    cell("flow-lm.class-0.seed0.json", [{"capture": "42-1", "seed": 7}])
    cell("lightgbm.0.seed0.json", [{"capture": "42-1", "seed": 8}])
    assert [record["seed"] for record in read_held_out(tmp_path)["42-1"]] == [0, 1]
    assert read_held_out(tmp_path / "none") == {}
