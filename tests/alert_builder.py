"""Alerts made by hand, and the flows between the same ends, for the tests of bench.

In: what a test cares about of an alert. Out: ``AlertBatch``, ``FlowBatch``.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

import numpy as np

from thingwarden.domain.alert import ALERT_COLUMNS, UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.train.corpus import constant_labels

START_S = 1_700_000_000.0


class Ends(NamedTuple):
    """Who speaks to whom: address and port of both, and the protocol's number."""

    orig: str = "192.168.1.10"
    orig_port: int = 40_000
    resp: str = "203.0.113.5"
    resp_port: int = 80
    proto: int = 6


def _words(address: str) -> tuple[int, int]:
    return words_from_address(ipaddress.ip_address(address))


def build_alerts(*rows: tuple[float, Ends], **columns: Any) -> AlertBatch:
    """One alert for each row of seconds after ``START_S`` and ends; ``columns`` replace whole columns."""
    values: dict[str, Any] = {
        "at_s": [START_S + at_s for at_s, _ in rows],
        "orig_address": [_words(ends.orig) for _, ends in rows],
        "resp_address": [_words(ends.resp) for _, ends in rows],
        "orig_port": [ends.orig_port for _, ends in rows],
        "resp_port": [ends.resp_port for _, ends in rows],
        "proto": [ends.proto for _, ends in rows],
        "is_oriented": [True] * len(rows),
        "attacker_is_orig": [UNKNOWN_SIDE] * len(rows),
        "signature_id": [1] * len(rows),
        "severity": [1] * len(rows),
        "confidence": [0] * len(rows),
        **columns,
    }
    texts = {name: tuple(values.pop(name, [f"TEST {name}"] * len(rows))) for name in ("signature", "category")}
    arrays = {
        name: np.array(values[name], dtype=dtype).reshape(len(rows), *shape)
        for name, (dtype, shape) in ALERT_COLUMNS.items()
    }
    return AlertBatch(**arrays, **texts)  # type: ignore[arg-type]


def build_flows(*rows: tuple[float, Ends], malicious: tuple[int, ...] = ()) -> FlowBatch:
    """One flow of a second for each row, labelled benign but where ``malicious`` says 1 (C&C) or -1 (no label)."""
    labels = constant_labels(len(rows), AttackClass.BENIGN)
    for row, value in enumerate(malicious):
        labels.malicious[row] = value
        if value == 1:
            labels.attack_class[row] = CLASS_INDEX[AttackClass.C2]
            labels.detail[row] = b"c2:beacon-1"
    count = len(rows)
    return FlowBatch.unknown(
        count,
        started_at_s=np.array([START_S + at_s for at_s, _ in rows]),
        duration_s=np.ones(count),
        proto=np.array([ends.proto for _, ends in rows], dtype=np.uint8),
        orig_address=np.array([_words(ends.orig) for _, ends in rows], dtype=np.uint64).reshape(count, 2),
        resp_address=np.array([_words(ends.resp) for _, ends in rows], dtype=np.uint64).reshape(count, 2),
        orig_port=np.array([ends.orig_port for _, ends in rows], dtype=np.uint16),
        resp_port=np.array([ends.resp_port for _, ends in rows], dtype=np.uint16),
        labels=labels,
    )
