"""Reads lists of what is known to be bad: plain lists, one entry a line, or STIX bundles.

In: the path of an untrusted file, plain or compressed. Out: ``IndicatorSet``.
Must never: take an entry that covers much of the internet, or let a list's text through with a control character.
"""

from __future__ import annotations

import io
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import words_from_address
from thingwarden.domain.indicator import INDICATOR_COLUMNS, KIND_CODE, IndicatorSet
from thingwarden.domain.sighting import NO_CLASS, SightingKind
from thingwarden.ingest.compression import display_name, open_stream
from thingwarden.ingest.lines import LineReader
from thingwarden.ingest.recognise import BYTE_ORDER_MARK
from thingwarden.ingest.vendor_text import plain_text

MAX_ENTRIES: Final = 1_000_000
"""Some 500 MB while they are read; the largest public lists of addresses have some 600,000."""

UNSTATED_CONFIDENCE: Final = 70
"""Of 100; what an entry counts whose list does not say how sure it is: who gives a list stands for it."""

ALWAYS: Final = (-np.inf, np.inf)

_MIN_V4_BITS: Final = 8
_MIN_V6_BITS: Final = 16
_MAX_NAME_CHARACTERS: Final = 253
_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]{2,45}(/[0-9]{1,3})?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+(?!\d+$){_LABEL}")
_JA4: Final = re.compile(r"[tqd][0-9a-z]{2}[di][0-9]{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}")
_COMMENT: Final = re.compile(r"(?:^|\s)[#;]")
_EXPECTED: Final = "an address, a network such as 203.0.113.0/24, a domain name or a JA4 fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, as its list has it.

    Attributes:
        value: as ``parse_value`` takes it.
        confidence: 1 to 100.
        validity_s: Unix seconds, from the first until before the second.
        attack_class: index into ``taxonomy.CLASSES``, -1 where the list names none.
        origin: file and place.
        quote: what the list says about it, printable ASCII.
    """

    value: Value
    confidence: int
    origin: str
    quote: str
    validity_s: tuple[float, float] = ALWAYS
    attack_class: int = NO_CLASS


@dataclass(frozen=True, slots=True)
class Value:
    """What an entry lists: a network, or a name.

    Attributes:
        kind: what it is.
        high, low: first address of the network, as in ``FlowBatch``; 0 for names.
        prefix_length: bits of the network, for IPv4 from 96; 0 for names.
        name: in lower case; empty for networks.
    """

    kind: SightingKind
    high: int = 0
    low: int = 0
    prefix_length: int = 0
    name: str = ""


def read_indicators(path: Path, unstated_confidence: int = UNSTATED_CONFIDENCE) -> IndicatorSet:
    """Read a list.

    Args:
        path: a plain list or a STIX 2.1 bundle, told apart by content; plain, gzip, xz or zstd.
        unstated_confidence: 1 to 100, of entries whose list does not say how sure it is.

    Returns:
        The entries in the list's order, equal ones once. What cannot be matched, or says itself that it does not hold,
        is counted in ``passed_over``.

    Raises:
        InputError: an entry is nothing that can be listed; names file, place and expectation.
        RequestError: the path cannot be opened, or a pattern needs the extra ``stix``, which is not installed.
    """
    with open_stream(path) as stream:
        head = cast(io.BufferedReader, stream).peek(1).removeprefix(BYTE_ORDER_MARK).lstrip()
        if head.startswith((b"{", b"[")):
            from thingwarden.ingest.stix import read_bundle

            entries, passed_over = read_bundle(stream, path, unstated_confidence)
            return set_from_entries(entries, passed_over)
        return set_from_entries(list(_read_lines(stream, path, unstated_confidence)), {})


def parse_value(text: str, place: str) -> Value:
    """What an entry lists.

    Args:
        text: an address or a network (host bits are cut off), a domain (``*.`` or ``.`` before it stands for all its
            subdomains), or a JA4 fingerprint.
        place: file and place, for errors.

    Raises:
        InputError: it is none of these, or a network of more than an eighth of the bits that addresses have.
    """
    lowered = text.lower()
    if _ADDRESS.fullmatch(text):
        return _network(text, place)
    if _JA4.fullmatch(lowered):
        return Value(SightingKind.JA4, name=lowered)
    domain = _ascii_domain(f"*{lowered}" if lowered.startswith(".") else lowered)
    if len(domain) <= _MAX_NAME_CHARACTERS and _DOMAIN.fullmatch(domain):
        return Value(SightingKind.DOMAIN, name=domain)
    raise InputError(place, f'expected {_EXPECTED}, found "{plain_text(text, 60)}"', "a comment begins with #")


def set_from_entries(entries: Sequence[Entry], passed_over: Mapping[str, int]) -> IndicatorSet:
    """The entries as columns; of those that list the same with the same validity, the surest, else the first."""
    best: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        key = (entry.value, entry.validity_s)
        if key not in best or best[key].confidence < entry.confidence:
            best[key] = entry
    kept = list(best.values())
    counts = Counter(passed_over)
    counts["repeated"] += len(entries) - len(kept)
    values: dict[str, list[Any]] = {
        "kind": [KIND_CODE[entry.value.kind] for entry in kept],
        "network": [(entry.value.high, entry.value.low) for entry in kept],
        "prefix_length": [entry.value.prefix_length for entry in kept],
        "confidence": [entry.confidence for entry in kept],
        "valid_from_s": [entry.validity_s[0] for entry in kept],
        "valid_until_s": [entry.validity_s[1] for entry in kept],
        "attack_class": [entry.attack_class for entry in kept],
    }
    columns: dict[str, Any] = {
        name: np.array(values[name], dtype=dtype).reshape(len(kept), *shape)
        for name, (dtype, shape) in INDICATOR_COLUMNS.items()
    }
    return IndicatorSet(
        **columns,
        name=tuple(entry.value.name for entry in kept),
        origin=tuple(entry.origin for entry in kept),
        quote=tuple(entry.quote for entry in kept),
        passed_over={reason: count for reason, count in sorted(counts.items()) if count},
    )


def _ascii_domain(name: str) -> str:
    """A domain as DNS carries it, without the root's dot; unchanged where it is none."""
    try:
        return (name if name.isascii() else name.encode("idna").decode("ascii")).removesuffix(".")
    except UnicodeError:
        return name


def list_name(path: Path) -> str:
    """What people see of a list: its file's name, printable."""
    return plain_text(Path(display_name(path)).name, 60)


def _network(text: str, place: str) -> Value:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InputError(place, f'expected {_EXPECTED}, found "{plain_text(text, 60)}"') from None
    if network.prefixlen < (_MIN_V4_BITS if network.version == 4 else _MIN_V6_BITS):
        raise InputError(
            place,
            f"{network} covers too much of the internet to mean anything",
            f"expected at least /{_MIN_V4_BITS} (IPv4) or /{_MIN_V6_BITS} (IPv6)",
        )
    high, low = words_from_address(network.network_address)
    return Value(SightingKind.ADDRESS, high, low, network.prefixlen + (96 if network.version == 4 else 0))


def _read_lines(stream: BinaryIO, path: Path, confidence: int) -> Iterator[Entry]:
    name, shown, count = display_name(path), list_name(path), 0
    for block in LineReader(stream).blocks():
        if block.too_long_count:
            raise InputError(f"{name}, from line {block.first_line}", "a line exceeds 1 MiB", f"expected {_EXPECTED}")
        content = block.content.removeprefix(BYTE_ORDER_MARK) if block.first_line == 1 else block.content
        for number, line in enumerate(content.split(b"\n"), start=block.first_line):
            text = line.decode(errors="replace")
            found = _COMMENT.search(text)
            value = (text[: found.start()] if found else text).strip()
            if not value:
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise InputError(f"{name}, line {number}", f"the list has more than {MAX_ENTRIES:,} entries")
            yield Entry(
                value=parse_value(value, f"{name}, line {number}"),
                confidence=confidence,
                origin=f"{shown}, line {number}",
                quote=plain_text(text[found.end() :]) if found else "",
            )
