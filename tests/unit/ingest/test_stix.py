"""STIX bundles are read as far as flows can show what they describe, and never further."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.errors import InputError, RequestError, ThingwardenError
from thingwarden.domain.flow import address_from_words
from thingwarden.domain.indicator import IndicatorSet
from thingwarden.domain.sighting import NO_CLASS
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest import stix
from thingwarden.ingest.indicators import read_indicators
from thingwarden.ingest.stix import alternatives

INDICATOR: dict[str, Any] = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
    "created": "2026-01-02T03:04:05.000Z",
    "modified": "2026-01-02T03:04:05.000Z",
    "name": "A botnet's controller",
    "indicator_types": ["malicious-activity"],
    "pattern": "[ipv4-addr:value = '203.0.113.5']",
    "pattern_type": "stix",
    "valid_from": "2026-01-02T03:04:05Z",
}


def read(path: Path, *objects: object) -> IndicatorSet:
    file = path / "bundle.json"
    file.write_text(json.dumps({"type": "bundle", "id": "bundle--1", "objects": list(objects)}))
    return read_indicators(file, 55)


def values(listed: IndicatorSet) -> list[str]:
    return [
        name or f"{address_from_words(*halves)}/{bits}"
        for name, halves, bits in zip(listed.name, listed.network.tolist(), listed.prefix_length.tolist(), strict=True)
    ]


def test_an_indicator_is_read_whole(tmp_path: Path) -> None:
    phases = [{"kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "command-and-control"}]
    until = {"valid_until": "2026-02-02T03:04:05Z", "confidence": 85, "kill_chain_phases": phases}
    listed = read(tmp_path, {**INDICATOR, **until})
    assert values(listed) == ["203.0.113.5/128"]
    assert listed.confidence.tolist() == [85]
    assert listed.valid_from_s.tolist() == [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()]
    assert listed.valid_until_s.tolist() == [datetime(2026, 2, 2, 3, 4, 5, tzinfo=UTC).timestamp()]
    assert listed.attack_class.tolist() == [CLASS_INDEX[AttackClass.C2]]
    assert listed.quote == ("A botnet's controller",)
    assert listed.origin == (f"bundle.json, {INDICATOR['id']}",)


def test_what_an_indicator_does_not_state_is_not_invented(tmp_path: Path) -> None:
    bare = {name: INDICATOR[name] for name in ("type", "pattern")}
    listed = read(tmp_path, bare)
    assert (listed.confidence.tolist(), listed.attack_class.tolist()) == ([55], [NO_CLASS])
    assert (listed.origin, listed.quote) == (("bundle.json, object 1",), ("",))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "malware"}, "not_an_indicator"),
        ({"revoked": True}, "revoked"),
        ({"pattern_type": "snort"}, "pattern_of_another_language"),
        ({"confidence": 0}, "without_confidence"),
        ({"indicator_types": ["benign"]}, "benign"),
        ({"pattern": "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']"}, "pattern_not_seen_in_flows"),
        ({"pattern": "[url:value = 'http://bad.example/']"}, "pattern_not_seen_in_flows"),
    ],
)
def test_what_says_nothing_against_an_address_is_counted(
    tmp_path: Path, changes: Mapping[str, object], reason: str
) -> None:
    listed = read(tmp_path, {**INDICATOR, **changes}, INDICATOR)
    assert len(listed) == 1
    assert listed.passed_over == {reason: 1}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[ipv4-addr:value = '203.0.113.5']", ["203.0.113.5"]),
        ("[ ipv6-addr:value='2001:db8::/32' ]", ["2001:db8::/32"]),
        ("([domain-name:value = 'bad.example'])", ["bad.example"]),
        ("[ipv4-addr:value IN ('192.0.2.1', '192.0.2.2')]", ["192.0.2.1", "192.0.2.2"]),
        ("[ipv4-addr:value ISSUBSET '192.0.2.0/24' OR domain-name:value = 'a.b']", ["192.0.2.0/24", "a.b"]),
        ("[ipv4-addr:value = '192.0.2.1'] OR [domain-name:value LIKE '%.bad.example']", ["192.0.2.1", "*.bad.example"]),
        ("[ipv4-addr:value = '192.0.2.1' OR file:size = 7]", ["192.0.2.1", None]),
        ("[domain-name:value LIKE 'bad%']", [None]),
        ("[ipv4-addr:value != '192.0.2.1']", [None]),
        ("[ipv4-addr:value NOT = '192.0.2.1']", [None]),
        ("[ipv4-addr:value NOT IN ('192.0.2.1')]", [None]),
        ("[ipv4-addr:value MATCHES '^192']", [None]),
        ("[ipv4-addr:resolves_to_refs[0].value = 'aa:bb:cc:dd:ee:ff']", [None]),
        ("[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 23]", [None]),
        ("[ipv4-addr:value = '192.0.2.1'] AND [ipv4-addr:value = '192.0.2.2']", [None]),
        ("[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.2']", [None]),
        ("[ipv4-addr:value = '192.0.2.1'] REPEATS 5 TIMES", [None]),
        ("[ipv4-addr:value = '192.0.2.1'] WITHIN 5 SECONDS", [None]),
    ],
)
def test_only_what_alone_fulfils_a_pattern_is_taken(pattern: str, found: list[str | None]) -> None:
    assert alternatives(pattern, "test") == found


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["ipv4-addr", "ipv6-addr", "domain-name", "url", "mac-addr"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="'\\"), max_size=20),
    st.sampled_from(["", " "]),
)
def test_the_short_way_reads_what_the_parser_reads(kind: str, value: str, space: str) -> None:
    pattern = f"[{space}{kind}:value{space}={space}'{value}'{space}]"
    assert stix._SIMPLEST.fullmatch(pattern)
    assert alternatives(pattern, "test") == alternatives(f"({pattern})", "test")


@pytest.mark.parametrize("pattern", ["", "203.0.113.5", "[ipv4-addr:value = '1", "[a]", "[" * 3_000, "[" * 16_000])
def test_a_broken_pattern_is_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="no STIX pattern") as caught:
        read(tmp_path, INDICATOR, {**INDICATOR, "pattern": pattern})
    assert caught.value.what == f"{tmp_path / 'bundle.json'}, object 2, pattern"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"confidence": 101}, "object 1, confidence"),
        ({"confidence": "high"}, "object 1, confidence"),
        ({"pattern": 7}, "object 1, pattern"),
        ({"name": ["x"]}, "object 1, name"),
        ({"valid_from": "soon"}, "object 1, valid_from"),
        ({"valid_until": 7}, "object 1, valid_until"),
        ({"pattern": "[ipv4-addr:value = '203.0.113.256']"}, "object 1, pattern"),
        ({"pattern": "[ipv4-addr:value = '0.0.0.0/0']"}, "object 1, pattern"),
        ({"pattern": f"[a:b = '{'x' * 20_000}']"}, "object 1, pattern"),
    ],
)
def test_an_indicator_that_breaks_the_standard_is_named(
    tmp_path: Path, changes: Mapping[str, object], what: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, {**INDICATOR, **changes})
    assert caught.value.what == f"{tmp_path / 'bundle.json'}, {what}"


@pytest.mark.parametrize("text", ["{", '{"type": "report"}', '{"type": "bundle", "objects": 7}', "[1, 2]", "{\xff"])
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="JSON"):
        read_indicators(tmp_path / "bundle.json")


def test_an_object_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a JSON object"):
        read(tmp_path, "indicator")


def test_a_bundle_beyond_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stix, "MAX_ENTRIES", 1)
    with pytest.raises(InputError, match="more than 1 entries"):
        read(tmp_path, INDICATOR, {**INDICATOR, "pattern": "[ipv4-addr:value = '192.0.2.2']"})
    monkeypatch.setattr(stix, "MAX_BUNDLE_BYTES", 10)
    with pytest.raises(InputError, match="exceeds 10 bytes"):
        read(tmp_path, INDICATOR)


def test_without_the_parser_simple_patterns_are_read_and_others_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def lacking(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("stix2patterns"):
            raise ModuleNotFoundError(name)
        return whole(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", lacking)
    assert len(read(tmp_path, INDICATOR)) == 1
    with pytest.raises(RequestError, match="more than one comparison") as caught:
        read(tmp_path, {**INDICATOR, "pattern": "[ipv4-addr:value IN ('192.0.2.1')]"})
    assert "thingwarden[stix]" in caught.value.hint


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted({*INDICATOR, "confidence", "valid_until", "revoked", "kill_chain_phases", "labels"})),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=30),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["phase_name"]), inner),
            max_leaves=3,
        ),
        max_size=4,
    )
)
def test_whatever_an_indicator_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]
) -> None:
    try:
        listed = read(tmp_path_factory.mktemp("stix"), {**INDICATOR, **changes})
    except ThingwardenError as error:
        assert error.what
    else:
        assert all(text.isprintable() for text in (*listed.quote, *listed.origin, *listed.name))
