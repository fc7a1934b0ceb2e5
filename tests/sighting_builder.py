"""Alerts and lists as a test would say them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thingwarden.domain.alert import ALERT_COLUMNS, UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.flow import words_from_address
from thingwarden.domain.heard_name import HEARD_COLUMNS, HeardNames
from thingwarden.domain.indicator import KIND_CODE, IndicatorSet
from thingwarden.domain.sighting import SightingKind
from thingwarden.ingest.indicators import Entry, parse_value, set_from_entries
from thingwarden.testing import START_S

PROTO_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSpec:
    """One alert; times are seconds after ``START_S``, ends as the alert names them."""

    at_s: float = 0.0
    source: str = "192.168.1.10"
    source_port: int = 40_000
    destination: str = "203.0.113.5"
    destination_port: int = 443
    proto: str = "tcp"
    signature_id: int = 2_000_001
    signature: str = "TEST something bad"
    category: str = "A Network Trojan was detected"
    severity: int = 1
    confidence: int = 0
    attacker_is_orig: int = UNKNOWN_SIDE


def build_alerts(specs: Sequence[AlertSpec]) -> AlertBatch:
    """The alerts as columns, in the order given."""
    values: dict[str, list[Any]] = {
        "at_s": [START_S + spec.at_s for spec in specs],
        "orig_address": [words_from_address(ipaddress.ip_address(spec.source)) for spec in specs],
        "resp_address": [words_from_address(ipaddress.ip_address(spec.destination)) for spec in specs],
        "orig_port": [spec.source_port for spec in specs],
        "resp_port": [spec.destination_port for spec in specs],
        "proto": [PROTO_NUMBERS[spec.proto] for spec in specs],
        "is_oriented": [False] * len(specs),
        "attacker_is_orig": [spec.attacker_is_orig for spec in specs],
        "signature_id": [spec.signature_id for spec in specs],
        "severity": [spec.severity for spec in specs],
        "confidence": [spec.confidence for spec in specs],
    }
    columns: dict[str, Any] = {
        name: np.array(values[name], dtype=dtype).reshape(len(specs), *shape)
        for name, (dtype, shape) in ALERT_COLUMNS.items()
    }
    texts = {name: tuple(getattr(spec, name) for spec in specs) for name in ("signature", "category")}
    return AlertBatch(**columns, **texts)


def build_list(*values: str, confidence: int = 80, **changes: Any) -> IndicatorSet:
    """A list of addresses, networks, domains or fingerprints."""
    entries = [
        Entry(
            value=parse_value(value, f"test, line {line}"),
            confidence=confidence,
            origin=f"test.txt, line {line}",
            quote="",
            **changes,
        )
        for line, value in enumerate(values, 1)
    ]
    return set_from_entries(entries, {})


def build_names(specs: Sequence[tuple[AlertSpec, str]], kind: SightingKind = SightingKind.DOMAIN) -> HeardNames:
    """Names heard on the ends that each alert names; DNS where the destination's port is 53."""
    alerts = build_alerts([spec for spec, _ in specs])
    columns: dict[str, Any] = {name: getattr(alerts, name) for name in set(HEARD_COLUMNS) & set(ALERT_COLUMNS)}
    columns["kind"] = np.full(len(specs), KIND_CODE[kind], dtype=np.uint8)
    columns["is_question"] = np.array([spec.destination_port == 53 for spec, _ in specs], dtype=np.bool_)
    return HeardNames(**columns, name=tuple(name for _, name in specs))
