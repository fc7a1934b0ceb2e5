"""Names that stand on a list are found in Suricata's log, and no others are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.heard_name import HeardNames
from thingwarden.domain.indicator import KIND_CODE
from thingwarden.domain.sighting import SightingKind
from thingwarden.ingest.eve_names import read_names

DATA = Path(os.environ.get("THINGWARDEN_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
REAL = DATA / "formats" / "suricata-eve" / "test6-malicious.suricata.json.xz"
JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"
EVENT: dict[str, Any] = {
    "timestamp": "2026-11-23T18:00:59.444796+0000",
    "src_ip": "10.77.0.22",
    "src_port": 60258,
    "dest_ip": "10.77.0.1",
    "dest_port": 53,
    "proto": "UDP",
}


def read(path: Path, *events: dict[str, Any], wanted: str = "bad.example") -> HeardNames:
    file = path / "eve.json"
    file.write_text("".join(f"{json.dumps({**EVENT, **event})}\n" for event in events))
    return read_names(file, lambda name: name == wanted)


@pytest.mark.parametrize(
    ("event", "is_question"),
    [
        ({"event_type": "dns", "dns": {"type": "query", "rrname": "Bad.Example."}}, True),
        ({"event_type": "dns", "dns": {"version": 3, "queries": [{"rrname": "x.y"}, {"rrname": "bad.example"}]}}, True),
        ({"event_type": "tls", "tls": {"sni": "bad.example", "version": "TLS 1.3"}}, False),
        ({"event_type": "quic", "quic": {"sni": "bad.example"}}, False),
        ({"event_type": "http", "http": {"hostname": "bad.example", "url": "/"}}, False),
    ],
)
def test_a_wanted_name_is_kept_with_its_ends(tmp_path: Path, event: dict[str, Any], is_question: bool) -> None:
    heard = read(tmp_path, {"event_type": "flow"}, event)
    assert heard.name == ("bad.example",)
    assert heard.is_question.tolist() == [is_question]
    assert (heard.orig_port.tolist(), heard.resp_port.tolist(), heard.proto.tolist()) == ([60258], [53], [17])
    assert heard.at_s.tolist() == [1795456859.444796]


def test_a_fingerprint_is_a_name_of_its_own_kind(tmp_path: Path) -> None:
    heard = read(tmp_path, {"event_type": "tls", "tls": {"sni": "good.example", "ja4": JA4}}, wanted=JA4)
    assert (heard.name, heard.kind.tolist()) == ((JA4,), [KIND_CODE[SightingKind.JA4]])


def test_nobody_elses_names_are_kept(tmp_path: Path) -> None:
    dns = {"event_type": "dns", "dns": {"rrname": "good.example"}}
    assert len(read(tmp_path, dns, {"event_type": "tls", "tls": {}}, {"event_type": "dns"})) == 0
    assert len(read(tmp_path, {"event_type": "dns", "dns": {"rrname": "b\x1bd.example"}}, wanted="b\x1bd.example")) == 0


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "dns", "dns": {"rrname": 7}},
        {"event_type": "dns", "dns": {"queries": ["x"]}},
        {"event_type": "tls", "tls": "x"},
        {"event_type": "http", "http": {"hostname": "bad.example"}, "src_ip": "x"},
    ],
)
def test_a_broken_event_is_named(tmp_path: Path, event: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        read(tmp_path, {"event_type": "flow"}, event)
    assert caught.value.what.startswith(f"{tmp_path / 'eve.json'}, line 2, ")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_file(), reason="the public captures are not here (THINGWARDEN_DATA)")
def test_names_of_a_real_log_are_found() -> None:
    heard = read_names(REAL, lambda name: name == "www.google.com")
    assert len(heard) > 0
    assert set(heard.is_question.tolist()) == {True}
