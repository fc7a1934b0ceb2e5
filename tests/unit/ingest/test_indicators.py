"""Plain lists are read entry by entry, and refused where an entry is nothing that can be listed."""

from __future__ import annotations

import gzip
import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.flow import address_from_words, words_from_address
from thingwarden.domain.indicator import KIND_CODE, IndicatorSet
from thingwarden.domain.sighting import SightingKind
from thingwarden.ingest import indicators
from thingwarden.ingest.indicators import UNSTATED_CONFIDENCE, parse_value, read_indicators

JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"


def read(path: Path, text: str | bytes) -> IndicatorSet:
    file = path / "list.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_indicators(file)


def networks(listed: IndicatorSet) -> list[str]:
    rows = zip(listed.network.tolist(), listed.prefix_length.tolist(), strict=True)
    return [f"{address_from_words(*halves)}/{length}" for halves, length in rows]


def test_a_list_is_read_with_its_comments(tmp_path: Path) -> None:
    listed = read(
        tmp_path,
        "\ufeff# a feed\n\n203.0.113.5\n  203.0.113.0/24 ; SBL 12 \x1b[2J\n2001:DB8::/32\t# v6\nBad.Example.\n;end\n",
    )
    assert networks(listed)[:3] == ["203.0.113.5/128", "203.0.113.0/120", "2001:db8::/32"]
    assert listed.name == ("", "", "", "bad.example")
    assert listed.quote == ("", "SBL 12 ?[2J", "v6", "")
    assert listed.origin[1] == "list.txt, line 4"
    assert set(listed.confidence.tolist()) == {UNSTATED_CONFIDENCE}
    assert np.isinf(listed.valid_from_s).all() and np.isinf(listed.valid_until_s).all()


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    listed = read(tmp_path, f"203.0.113.5\nbad.example\n{JA4}\n*.worse.example\n.worst.example\nbücher.example\n")
    codes = [KIND_CODE[kind] for kind in (SightingKind.ADDRESS, SightingKind.DOMAIN, SightingKind.JA4)]
    assert listed.kind.tolist() == [codes[0], codes[1], codes[2], codes[1], codes[1], codes[1]]
    assert listed.name[2:] == (JA4, "*.worse.example", "*.worst.example", "xn--bcher-kva.example")


def test_equal_entries_are_taken_once(tmp_path: Path) -> None:
    listed = read(tmp_path, "203.0.113.5\n203.0.113.5/32\nBAD.example\nbad.example\n")
    assert len(listed) == 2
    assert listed.passed_over == {"repeated": 2}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("203.0.113.256", "expected an address"),
        ("203.0.113.0/33", "expected an address"),
        ("203.0.113", "expected an address"),
        ("localhost", "expected an address"),
        ("http://bad.example/x", "expected an address"),
        ("bad..example", "expected an address"),
        ("-bad.example", "expected an address"),
        (f"{'a' * 64}.example", "expected an address"),
        (f"{'a.' * 127}example", "expected an address"),
        ("203.0.113.5 203.0.113.6", "expected an address"),
        ("0.0.0.0/0", "covers too much"),
        ("16.0.0.0/4", "covers too much"),
        ("::/0", "covers too much"),
        ("\x00\x1b[31m", "expected an address"),
    ],
)
def test_what_cannot_be_listed_is_refused_by_its_line(tmp_path: Path, entry: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read(tmp_path, f"# list\n203.0.113.5\n{entry}\n")
    assert caught.value.what == f"{tmp_path / 'list.txt'}, line 3"
    assert caught.value.why.isprintable()


def test_a_compressed_list_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, gzip.compress(b"203.0.113.5\n"))) == 1
    assert len(read(tmp_path, b"")) == 0


def test_a_list_beyond_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indicators, "MAX_ENTRIES", 2)
    with pytest.raises(InputError, match="more than 2 entries"):
        read(tmp_path, "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
    with pytest.raises(InputError, match="exceeds 1 MiB"):
        read(tmp_path, b"x" * (3 * 1024**2) + b"\n")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        read_indicators(tmp_path / "absent.txt")


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(), st.integers(16, 128))
def test_every_network_is_read_as_it_is_written(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    network = ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False)
    value = parse_value(f"{address}/{network.prefixlen}", "test")
    assert (value.high, value.low) == words_from_address(network.network_address)
    assert value.prefix_length == network.prefixlen + (96 if address.version == 4 else 0)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_entry_is_read_or_refused_in_printable_words(text: str) -> None:
    try:
        value = parse_value(text, "test")
    except InputError as error:
        assert error.why.isprintable()
    else:
        assert value.name.isascii() and value.name.isprintable()
