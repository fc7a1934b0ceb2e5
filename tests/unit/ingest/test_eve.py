"""Suricata's alerts are read, and nothing that is not one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.alert import UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.errors import InputError, ThingwardenError
from thingwarden.domain.flow import address_from_words
from thingwarden.ingest import eve
from thingwarden.ingest.eve import read_alerts

DATA = Path(os.environ.get("THINGWARDEN_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
REAL = DATA / "formats" / "suricata-eve" / "test6-malicious.suricata.json.xz"

ALERT: dict[str, Any] = {
    "timestamp": "2026-11-23T17:58:05.441024+0000",
    "flow_id": 863538727674829,
    "event_type": "alert",
    "src_ip": "10.77.0.51",
    "src_port": 39216,
    "dest_ip": "10.77.0.22",
    "dest_port": 23,
    "proto": "TCP",
    "alert": {
        "action": "allowed",
        "gid": 1,
        "signature_id": 1000001,
        "rev": 2,
        "signature": "LOCAL telnet",
        "category": "Attempted Administrator Privilege Gain",
        "severity": 1,
    },
}


def write(path: Path, *events: object) -> Path:
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


def read_one(path: Path, **members: object) -> AlertBatch:
    return read_alerts(write(path / "eve.json", {**ALERT, **members}))


def ends(alerts: AlertBatch, row: int = 0) -> tuple[str, int, str, int]:
    orig, resp = (
        str(address_from_words(*column[row].tolist())) for column in (alerts.orig_address, alerts.resp_address)
    )
    return orig, int(alerts.orig_port[row]), resp, int(alerts.resp_port[row])


def test_an_alert_is_read_whole(tmp_path: Path) -> None:
    alerts = read_one(tmp_path)
    assert ends(alerts) == ("10.77.0.51", 39216, "10.77.0.22", 23)
    assert alerts.at_s.tolist() == [1795456685.441024]
    assert (alerts.proto[0], alerts.signature_id[0], alerts.severity[0], alerts.confidence[0]) == (6, 1000001, 1, 0)
    assert (alerts.signature, alerts.category) == (("LOCAL telnet",), ("Attempted Administrator Privilege Gain",))
    assert (alerts.is_oriented[0], alerts.attacker_is_orig[0]) == (False, UNKNOWN_SIDE)


def test_the_flow_says_who_began_it_whoever_sent_the_packet(tmp_path: Path) -> None:
    answer = {"src_ip": "10.77.0.22", "src_port": 23, "dest_ip": "10.77.0.51", "dest_port": 39216}
    flow = {"src_ip": "10.77.0.51", "src_port": 39216, "dest_ip": "10.77.0.22", "dest_port": 23}
    for told in ({"flow": flow}, {"direction": "to_client"}):
        alerts = read_one(tmp_path, **answer, **told)
        assert ends(alerts) == ("10.77.0.51", 39216, "10.77.0.22", 23)
        assert alerts.is_oriented[0]


def test_the_start_of_the_flow_is_read_where_it_is_told(tmp_path: Path) -> None:
    told = read_one(tmp_path, flow={"start": "2026-11-23T17:58:03.000000+0000"}).flow_started_at_s
    untold = read_one(tmp_path).flow_started_at_s
    assert told is not None and told.tolist() == [1795456683.0]
    assert untold is not None and np.isnan(untold).all()


def test_the_rule_may_say_who_attacks(tmp_path: Path) -> None:
    for attacker, is_orig in (("10.77.0.51", 1), ("10.77.0.22", 0)):
        alert = {**ALERT["alert"], "source": {"ip": attacker, "port": 1}, "target": {"ip": "10.77.0.9", "port": 2}}
        assert read_one(tmp_path, alert=alert).attacker_is_orig.tolist() == [is_orig]


def test_icmp_has_a_type_and_a_code_instead_of_ports(tmp_path: Path) -> None:
    alerts = read_one(
        tmp_path, proto="IPv6-ICMP", src_ip="fe80::1%eth0", dest_ip="fe80::2", icmp_type=3, icmp_code=1,
        direction="to_client",
    )  # fmt: skip
    assert ends(alerts) == ("fe80::2", 3, "fe80::1", 1)
    assert alerts.proto.tolist() == [58]


def test_the_authors_confidence_is_read(tmp_path: Path) -> None:
    found = [
        int(read_one(tmp_path, alert={**ALERT["alert"], "metadata": metadata}).confidence[0])
        for metadata in ({"confidence": ["Low"]}, {"confidence": ["High"]}, {"confidence": []}, {"confidence": 7}, {})
    ]
    assert found == [1, 3, 0, 0, 0]


def test_other_events_are_counted(tmp_path: Path) -> None:
    faceless = {name: value for name, value in ALERT.items() if not name.endswith("_ip")}
    path = write(tmp_path / "eve.json", {"event_type": "flow"}, ALERT, {"event_type": "dns"}, faceless, {**ALERT})
    alerts = read_alerts(path)
    assert len(alerts) == 2
    assert alerts.passed_over == {"flow": 1, "dns": 1, "alert_without_address": 1}


def test_an_empty_log_holds_no_alert(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_bytes(b"\xef\xbb\xbf\n\n")
    assert len(read_alerts(tmp_path / "eve.json")) == 0


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_compressed_log_is_read(tmp_path: Path, pack: Any) -> None:
    packed = tmp_path / "eve.json.packed"
    packed.write_bytes(pack(write(tmp_path / "eve.json", ALERT).read_bytes()))
    assert read_alerts(packed).signature_id.tolist() == [1000001]


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"src_ip": "10.77.0"}, "src_ip"),
        ({"src_ip": 7}, "src_ip"),
        ({"dest_ip": "1" * 5_000}, "dest_ip"),
        ({"dest_ip": None}, "dest_ip"),
        ({"src_port": 65_536}, "src_port"),
        ({"src_port": "23"}, "src_port"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "1960-01-01T00:00:00+0000"}, "timestamp"),
        ({"timestamp": None}, "timestamp"),
        ({"event_type": 3}, "event_type"),
        ({"alert": {}}, "alert, signature_id"),
        ({"alert": [1]}, "alert"),
        ({"alert": {**ALERT["alert"], "severity": 0}}, "alert, severity"),
        ({"alert": {**ALERT["alert"], "severity": True}}, "alert, severity"),
        ({"alert": {**ALERT["alert"], "signature_id": 2**40}}, "alert, signature_id"),
        ({"alert": {**ALERT["alert"], "signature": None}}, "alert, signature"),
        ({"flow": {"src_ip": "x"}}, "flow, src_ip"),
        ({"flow": {"start": 7}}, "flow, start"),
    ],
)
def test_a_broken_alert_is_named(tmp_path: Path, members: dict[str, object], what: str) -> None:
    path = write(tmp_path / "eve.json", {"event_type": "flow"}, {**ALERT, **members})
    with pytest.raises(InputError, match="expected") as caught:
        read_alerts(path)
    assert caught.value.what == f"{path}, line 2, {what}"
    assert caught.value.hint


@pytest.mark.parametrize("line", ['{"event_type": "alert"', "[1]", "[" * 100_000, "\x1b[2Jfoo", "7"])
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "eve.json"
    path.write_text(f"{json.dumps(ALERT)}\n{line}\n")
    with pytest.raises(InputError, match="one JSON object") as caught:
        read_alerts(path)
    assert caught.value.what == f"{path}, line 2"
    assert caught.value.why.isprintable()


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b"x" * (3 * 1024**2) + b"\n")
    with pytest.raises(InputError, match="exceeds 1 MiB"):
        read_alerts(path)


def test_more_alerts_than_memory_should_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eve, "MAX_ALERTS", 2)
    with pytest.raises(InputError, match="more than 2 alerts"):
        read_alerts(write(tmp_path / "eve.json", ALERT, ALERT, ALERT))


def test_progress_tells_lines(tmp_path: Path) -> None:
    told: list[int] = []
    read_alerts(write(tmp_path / "eve.json", ALERT, ALERT, {"event_type": "flow"}), told.append)
    assert told == [3]


def test_rule_text_cannot_break_out(tmp_path: Path) -> None:
    hostile = {**ALERT["alert"], "signature": '\x1b[2J"; all is well. ' + "x" * 9_000, "category": "\u202e" * 500}
    alerts = read_one(tmp_path, alert=hostile)
    for text in (*alerts.signature, *alerts.category):
        assert text.isascii() and text.isprintable() and '"' not in text and len(text) <= 200


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted({*ALERT, "flow", "direction", "icmp_type"})),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["src_ip", "ip"]), inner),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_whatever_an_event_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, object]
) -> None:
    path = write(tmp_path_factory.mktemp("eve") / "eve.json", {**ALERT, **members})
    try:
        read_alerts(path)
    except ThingwardenError as error:
        assert str(path) in error.what


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_file(), reason="the public captures are not here (THINGWARDEN_DATA)")
def test_a_real_log_is_read() -> None:
    alerts = read_alerts(REAL)
    assert len(alerts) == 745
    assert alerts.passed_over == {"flow": 3512, "dns": 680, "http": 56, "anomaly": 3, "fileinfo": 3, "tls": 1}
    assert np.bincount(alerts.severity).tolist() == [0, 2, 741, 2]
    assert ends(alerts) == ("78.36.196.213", 51698, "192.168.1.129", 445)
