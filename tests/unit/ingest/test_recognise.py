"""Formats by content; whatever else is named for what it is."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import InputError
from thingwarden.ingest.recognise import Format, recognise

FIELDS = b"ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto"
JSON_ROW = b'{"ts":1.5,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","proto":"tcp","conn_state":"SF"}'

KNOWN = [
    (b"\xd4\xc3\xb2\xa1\x02\x00", Format.PCAP),
    (b"\xa1\xb2\xc3\xd4\x00\x02", Format.PCAP),
    (b"\x4d\x3c\xb2\xa1\x02\x00", Format.PCAP),
    (b"\xa1\xb2\x3c\x4d\x00\x02", Format.PCAP),
    (b"\x0a\x0d\x0d\x0a\x00\x00", Format.PCAPNG),
    (b"#separator \\x09\n#path\tconn\n#fields\t" + FIELDS, Format.ZEEK_TSV),
    (b"\xef\xbb\xbf#fields\t" + FIELDS, Format.ZEEK_TSV),
    (b"### any remark\n#separator \\x09\n#fields\t" + FIELDS, Format.ZEEK_TSV),
    (FIELDS + b"\tlabel\r\n", Format.ZEEK_TSV),
    (JSON_ROW, Format.ZEEK_JSON),
    (b"{broken\n" + JSON_ROW, Format.ZEEK_JSON),
    (b'{"flow_id":1,"event_type":"flow"}', Format.EVE),
    (b'{"timestamp":"2026-01-02T03:04:05+0000","event_type":"stats"}', Format.EVE),
    (b'{"id":{"orig_h":"10.0.0.1"},"proto":"udp","missed_bytes":0}', Format.ZEEK_JSON),
    (b"proto,dst_port,src_port,dst_ip,src_ip\n", Format.TON_IOT),
    (b'"src_ip","src_port","dst_ip","dst_port","proto","label"\n', Format.TON_IOT),
]

OTHERS = [
    (b"", "is empty"),
    (b"\x1f\x8b\x08", "gzip data inside compressed data"),
    (b"PK\x03\x04", "zip archive"),
    (b"BZh91AY", "bzip2"),
    (b"\xff\xfet\x00s\x00", "UTF-16"),
    (b"x" * 257 + b"ustar", "tar archive"),
    (b"#separator \\x09\n#path\thttp\n#fields\tts", "Zeek log of the kind 'http'"),
    (b"# just a remark\n", "no #fields header"),
    (b'{"a":1,"b":2}', "keys 'a, b'"),
    (b"{" * 100_000, "none of its first lines"),
    (b"[" * 100_000, "begins with"),
    (b"ts,date,time,temperature\n1,2,3,4\n", "begins with 'ts,date,time,temperature'"),
    (b"\x00" * 5000, "the bytes 00 00"),
    (b"\x1b]0;owned\x07 nonsense\n", "the bytes 1b 5d"),
    (b"   \n\n", "begins with"),
]


@pytest.mark.parametrize(("head", "expected"), KNOWN)
def test_supported_formats(head: bytes, expected: Format) -> None:
    assert recognise(head, "input") is expected


@pytest.mark.parametrize(("head", "seen"), OTHERS)
def test_others_are_refused_with_what_was_seen_and_what_is_supported(head: bytes, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        recognise(head, "input")
    assert caught.value.what == "input"
    assert seen in caught.value.why
    assert "pcapng" in caught.value.why + caught.value.hint
    assert caught.value.why.isprintable()


def test_wire_names_are_those_of_the_command_line() -> None:
    assert [member.value for member in Format] == ["pcap", "pcapng", "zeek-tsv", "zeek-json", "eve", "ton-iot"]
