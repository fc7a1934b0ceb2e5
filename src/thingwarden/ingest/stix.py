"""Reads the indicators of a STIX 2.1 bundle, as far as flows and names can show what they describe.

In: an untrusted JSON stream. Out: ``Entry``s, and what was passed over, by reason.
Must never: take a pattern for more than it says: what needs two things to hold at once is passed over, not halved.
Source: STIX Version 2.1, OASIS Standard, 2021: sections 4.7 (indicator), 9 (patterning) and appendix A (confidence).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.sighting import NO_CLASS
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.compression import display_name
from thingwarden.ingest.indicators import MAX_ENTRIES, Entry, list_name, parse_value
from thingwarden.ingest.vendor_text import plain_text

MAX_BUNDLE_BYTES: Final = 64 * 1024**2
"""Some 60,000 indicators; a JSON text becomes ten times its size in memory."""

MAX_PATTERN_CHARACTERS: Final = 16_384
"""The parser takes some 2 ms for each hundred characters of a list of alternatives."""

_SIMPLEST: Final = re.compile(r"\s*\[\s*([a-z0-9-]+):value\s*=\s*'([^'\\]*)'\s*\]\s*")
"""What nearly every indicator of a feed consists of; read without the parser, which takes 0.6 ms (tested to agree)."""

_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'")
_VALUED: Final = frozenset({"ipv4-addr", "ipv6-addr", "domain-name"})
_ID: Final = re.compile(r"indicator--[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_CLASS_OF_PHASE: Final = {
    "command-and-control": AttackClass.C2,
    "delivery": AttackClass.DOWNLOAD,
    "exfiltration": AttackClass.EXFILTRATION,
    "lateral-movement": AttackClass.LATERAL,
}
"""Kill chain phases, of Lockheed Martin and ATT&CK alike, that say what a contact means."""


def read_bundle(stream: BinaryIO, path: Path, unstated_confidence: int) -> tuple[list[Entry], dict[str, int]]:
    """Read every indicator of a bundle.

    Args:
        stream: the JSON text.
        path: its file, for errors and origins.
        unstated_confidence: 1 to 100, of indicators that do not state theirs.

    Returns:
        An entry for each address, network or name of which one alone fulfils a pattern, and the numbers of objects,
        patterns and alternatives passed over, by reason.

    Raises:
        InputError: not a bundle, or an indicator that breaks the standard; names the object.
        RequestError: a pattern needs the extra ``stix``, which is not installed.
    """
    name = display_name(path)
    entries: list[Entry] = []
    passed_over: Counter[str] = Counter()
    for number, item in enumerate(_objects(stream, name), 1):
        place = f"{name}, object {number}"
        if not isinstance(item, dict):
            raise InputError(place, "expected a JSON object")
        reason = _reason_to_pass(item)
        if reason is not None:
            passed_over[reason] += 1
            continue
        read = list(_entries(item, place, f"{list_name(path)}, {_short_name(item, number)}", unstated_confidence))
        entries += [entry for entry in read if entry is not None]
        passed_over["pattern_not_seen_in_flows"] += read.count(None)
        if len(entries) > MAX_ENTRIES:
            raise InputError(place, f"the bundle has more than {MAX_ENTRIES:,} entries")
    return entries, dict(passed_over)


def alternatives(pattern: str, place: str) -> list[str | None]:
    """The values of which one alone fulfils a pattern; None for an alternative that flows and names cannot show.

    Raises:
        InputError: the pattern breaks STIX's grammar, or is too long.
        RequestError: it needs the extra ``stix``, which is not installed.
    """
    simplest = _SIMPLEST.fullmatch(pattern)
    if simplest:
        return [simplest.group(2) if simplest.group(1) in _VALUED else None]
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise InputError(f"{place}, pattern", f"has {len(pattern):,} characters, of at most {MAX_PATTERN_CHARACTERS:,}")
    comparisons = _parsed(pattern, place)
    if comparisons is None:
        return [None]
    found: list[str | None] = []
    for kind, tests in comparisons.items():
        for member, operator, literal in tests:
            found += _values(operator, literal) if kind in _VALUED and member == ["value"] else [None]
    return found


def _objects(stream: BinaryIO, name: str) -> list[Any]:
    content = stream.read(MAX_BUNDLE_BYTES + 1)
    if len(content) > MAX_BUNDLE_BYTES:
        raise InputError(name, f"the bundle exceeds {MAX_BUNDLE_BYTES:,} bytes", "split it")
    try:
        bundle = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(name, f"begins like JSON and is none: {plain_text(str(error), 80)}") from None
    objects = bundle.get("objects") if isinstance(bundle, dict) and bundle.get("type") == "bundle" else None
    if not isinstance(objects, list):
        raise InputError(name, "is JSON but no STIX bundle", 'expected {"type": "bundle", "objects": [...]}')
    return objects


def _reason_to_pass(item: Mapping[str, Any]) -> str | None:
    """Why an object says nothing against an address or a name."""
    if item.get("type") != "indicator":
        return "not_an_indicator"
    if item.get("revoked") is True:
        return "revoked"
    if item.get("pattern_type", "stix") != "stix":
        return "pattern_of_another_language"
    if item.get("confidence") == 0:
        return "without_confidence"
    labels = item.get("indicator_types", item.get("labels"))
    return "benign" if isinstance(labels, list) and "benign" in labels else None


def _entries(item: Mapping[str, Any], place: str, origin: str, unstated_confidence: int) -> Iterator[Entry | None]:
    confidence = item.get("confidence", unstated_confidence)
    if isinstance(confidence, bool) or not isinstance(confidence, int) or not 1 <= confidence <= 100:
        raise InputError(f"{place}, confidence", "expected a whole number from 0 to 100")
    pattern, title = item.get("pattern"), item.get("name", "")
    if not isinstance(pattern, str) or not isinstance(title, str):
        raise InputError(f"{place}, {'name' if isinstance(pattern, str) else 'pattern'}", "expected a text")
    validity_s = (_unix_s(item, "valid_from", -np.inf, place), _unix_s(item, "valid_until", np.inf, place))
    for value in alternatives(pattern, place):
        if value is None:
            yield None
            continue
        yield Entry(
            value=parse_value(value, f"{place}, pattern"),
            confidence=confidence,
            validity_s=validity_s,
            attack_class=_attack_class(item),
            origin=origin,
            quote=plain_text(title),
        )


def _short_name(item: Mapping[str, Any], number: int) -> str:
    identity = item.get("id")
    return identity if isinstance(identity, str) and _ID.fullmatch(identity) else f"object {number}"


def _unix_s(item: Mapping[str, Any], name: str, default: float, place: str) -> float:
    value = item.get(name)
    if value is None:
        return default
    try:
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{place}, {name}", "expected an instant such as 2026-01-02T03:04:05Z") from None


def _attack_class(item: Mapping[str, Any]) -> int:
    phases = item.get("kill_chain_phases")
    for phase in phases if isinstance(phases, list) else ():
        name = phase.get("phase_name") if isinstance(phase, dict) else None
        if isinstance(name, str) and name.lower() in _CLASS_OF_PHASE:
            return CLASS_INDEX[_CLASS_OF_PHASE[name.lower()]]
    return NO_CLASS


def _parsed(pattern: str, place: str) -> Mapping[str, list[tuple[list[str], str, str]]] | None:
    """Comparisons by object type where any one of them suffices; None where it does not."""
    try:
        from stix2patterns.exceptions import ParseException
        from stix2patterns.v21.inspector import InspectionListener
        from stix2patterns.v21.pattern import Pattern
    except ImportError:
        raise RequestError(
            place, "its pattern is more than one comparison", "install the reader: pip install thingwarden[stix]"
        ) from None

    class _Listener(InspectionListener):  # type: ignore[misc]
        needs_all = False

        def exitComparisonExpressionAnd(self, ctx: Any) -> None:  # noqa: N802
            self.needs_all = self.needs_all or bool(ctx.AND())

    listener = _Listener()
    try:
        Pattern(pattern).walk(listener)
    except (ParseException, RecursionError) as error:
        raise InputError(f"{place}, pattern", f"is no STIX pattern: {plain_text(str(error), 80)}") from None
    data = listener.pattern_data()
    if listener.needs_all or data.observation_ops - {"OR"} or data.qualifiers:
        return None
    return data.comparisons  # type: ignore[no-any-return]


def _values(operator: str, literal: str) -> list[str | None]:
    texts = [re.sub(r"\\(.)", r"\1", text) for text in _QUOTED.findall(literal)]
    if operator in ("=", "==", "IN", "ISSUBSET") and texts:
        return [*texts]
    if operator == "LIKE" and texts[0].startswith("%.") and not set(texts[0][2:]) & set("%_"):
        return [f"*{texts[0][1:]}"]
    return [None]
