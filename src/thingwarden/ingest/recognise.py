"""Tells by its first bytes what an input is.

In: the unpacked start of an untrusted file. Out: its ``Format``, or an error that says what was seen instead.
Must never: go by the file's name.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Final

from thingwarden.domain.errors import InputError
from thingwarden.ingest.conn import REQUIRED_COLUMNS, column_name


class Format(Enum):
    """Formats that can be read; the value is the wire name, as ``--format`` takes it."""

    PCAP = "pcap"
    PCAPNG = "pcapng"
    ZEEK_TSV = "zeek-tsv"
    ZEEK_JSON = "zeek-json"
    EVE = "eve"
    TON_IOT = "ton-iot"


SUPPORTED: Final = (
    "pcap, pcapng, Zeek conn.log (TSV or JSON), Suricata's EVE or TON_IoT network CSV; plain, gzip, xz or zstd"
)

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

TON_COLUMNS: Final = frozenset({"src_ip", "src_port", "dst_ip", "dst_port", "proto"})
"""What tells a TON_IoT network table from other CSV."""

_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": Format.PCAP,
    b"\xa1\xb2\xc3\xd4": Format.PCAP,
    b"\x4d\x3c\xb2\xa1": Format.PCAP,
    b"\xa1\xb2\x3c\x4d": Format.PCAP,
    b"\x34\xcd\xb2\xa1": Format.PCAP,
    b"\xa1\xb2\xcd\x34": Format.PCAP,
    b"\x0a\x0d\x0d\x0a": Format.PCAPNG,
}

_KNOWN_OTHERS: Final = (
    (b"\x1f\x8b", "gzip data inside compressed data", "unpack it once"),
    (b"\xfd7zXZ\x00", "xz data inside compressed data", "unpack it once"),
    (b"\x28\xb5\x2f\xfd", "zstd data inside compressed data", "unpack it once"),
    (b"PK\x03\x04", "a zip archive", "unpack it and name the files inside"),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"BZh", "bzip2 data", "unpack it, or compress with gzip, xz or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", "unpack it and name the files inside"),
    (b"Rar!", "a RAR archive", "unpack it and name the files inside"),
    (b"XCP\x00", "a NetXRay capture", "rewrite it with editcap -F pcap"),
    (b"snoop\x00", "a snoop capture", "rewrite it with editcap -F pcap"),
    (b"\xff\xfe", "UTF-16 text", "convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it to UTF-8"),
    (b"PAR1", "a Parquet table", "export it as a Zeek conn.log"),
    (b"SQLite format 3\x00", "an SQLite database", ""),
    (b"\x7fELF", "an executable", ""),
    (b"%PDF", "a PDF document", ""),
)

_CONN_KEYS: Final = frozenset({"conn_state", "orig_pkts", "orig_ip_bytes", "missed_bytes"})
"""Of Zeek's logs that have addresses and ``proto``, only conn.log has one of these."""

_LINES_TRIED: Final = 20
_TAR_MAGIC_AT: Final = 257


def recognise(head: bytes, name: str) -> Format:
    """Recognise a format.

    Args:
        head: the unpacked start of the input: 64 KiB or more, or the whole of a shorter one.
        name: what messages call the input.

    Raises:
        InputError: it is empty or of no supported format; says what was seen.
    """
    if not head:
        raise InputError(name, "is empty", f"expected {SUPPORTED}")
    if head[:4] in _MAGIC:
        return _MAGIC[head[:4]]
    for magic, description, hint in _KNOWN_OTHERS:
        if head.startswith(magic):
            raise _unsupported(name, f"is {description}", hint)
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        raise _unsupported(name, "is a tar archive", "unpack it and name the files inside")
    return _recognise_text(head.removeprefix(BYTE_ORDER_MARK).lstrip(b"\r\n \t"), name)


def _recognise_text(text: bytes, name: str) -> Format:
    if text.startswith(b"{"):
        return _recognise_json(text, name)
    if text.startswith(b"#"):
        return _recognise_zeek_header(text, name)
    first_line = text.split(b"\n", 1)[0].rstrip(b"\r")
    tab_names = {column_name(cell) for cell in first_line.decode("latin-1").split("\t")}
    if tab_names.issuperset(REQUIRED_COLUMNS):
        return Format.ZEEK_TSV
    comma_names = {cell.strip().strip('"') for cell in first_line.decode("latin-1").split(",")}
    if comma_names >= TON_COLUMNS:
        return Format.TON_IOT
    raise _unsupported(name, f"begins with {_excerpt(first_line or text)}")


def _recognise_zeek_header(text: bytes, name: str) -> Format:
    directives = [line.rstrip(b"\r") for line in text.split(b"\n") if line.startswith(b"#")]
    path = next((line[6:] for line in directives if line.startswith(b"#path")), b"conn")
    if any(line.startswith((b"#fields", b"#separator")) for line in directives):
        if path.startswith(b"conn"):
            return Format.ZEEK_TSV
        raise _unsupported(name, f"is a Zeek log of the kind {_excerpt(path)}", "name the conn.log beside it")
    raise _unsupported(name, f"begins with {_excerpt(directives[0])} and has no #fields header")


def _recognise_json(text: bytes, name: str) -> Format:
    for line in text.split(b"\n", _LINES_TRIED)[:_LINES_TRIED]:
        record = _json_object(line)
        if record is None:
            continue
        if "event_type" in record and ("flow_id" in record or "timestamp" in record):
            return Format.EVE
        has_addresses = "id.orig_h" in record or "id_orig_h" in record or isinstance(record.get("id"), dict)
        if has_addresses and "proto" in record and not _CONN_KEYS.isdisjoint(record):
            return Format.ZEEK_JSON
        keys = ", ".join(list(record)[:8])
        raise _unsupported(name, f"is JSON of another kind, with the keys {_excerpt(keys.encode())}")
    raise _unsupported(name, "begins like JSON, but none of its first lines is a JSON object")


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _unsupported(name: str, seen: str, hint: str = "") -> InputError:
    return InputError(name, f"{seen}; expected {SUPPORTED}", hint or "force a format with --format")


def _excerpt(content: bytes) -> str:
    """What was seen, short, quoted and without a character that a terminal would act on."""
    shown = content[:48]
    if all(0x20 <= byte < 0x7F or byte == 0x09 for byte in shown):
        text = shown.decode("ascii").replace("\t", " ")
        return f"'{text}{'...' if len(content) > len(shown) else ''}'"
    return f"the bytes {shown[:16].hex(' ')}"
