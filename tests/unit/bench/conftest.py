"""A corpus small enough to train baselines on in a second: three devices behave, three scan, and a small table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, TON_CLASSES, AttackClass, class_from_ton
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import Capture, Corpus, Part, constant_labels
from thingwarden.train.folds import FoldPlan, hash_pairs, hash_sources

FOLDS = 3


def benign_flows(device: str, count: int = 60) -> FlowBatch:
    """A device that asks for names and speaks to its cloud every half minute."""
    specs = []
    for number in range(count // 2):
        at_s = 30.0 * number
        specs.append(FlowSpec(at_s=at_s, orig=device, resp="192.168.1.1", proto="udp", resp_port=53, service="dns"))
        specs.append(FlowSpec(at_s=at_s + 1, orig=device, resp="198.51.100.7", resp_port=443, service="ssl"))
    flows = build_flows(specs)
    return replace(flows, labels=constant_labels(len(flows), AttackClass.BENIGN))


def scanning_flows(device: str, count: int = 40) -> FlowBatch:
    """As ``benign_flows``, and then a telnet scan without answers."""
    scan = build_flows(
        [
            FlowSpec(at_s=900 + 0.1 * number, orig=device, resp=f"203.0.113.{number + 1}", resp_port=23,
                     conn_state="S0", duration_s=0.0, orig_bytes=0, resp_bytes=0)
            for number in range(count)
        ]
    )  # fmt: skip
    scan = replace(scan, labels=constant_labels(count, AttackClass.SCAN))
    return FlowBatch.concatenate([benign_flows(device), scan])


def ton_flows() -> FlowBatch:
    """An untimed table of normal, scanning and ddos rows, each from six host pairs."""
    specs, classes = [], []
    for pair in range(6):
        for number in range(10):
            specs.append(FlowSpec(orig=f"192.168.1.{10 + pair}", resp="192.168.1.1", proto="udp", resp_port=53))
            classes.append("normal")
            specs.append(
                FlowSpec(orig=f"192.168.1.{30 + pair}", resp="192.168.1.2", resp_port=20 + number, conn_state="REJ")
            )
            classes.append("scanning")
            specs.append(FlowSpec(orig=f"192.168.1.{40 + pair}", resp="192.168.1.3", resp_port=80, conn_state="S1"))
            classes.append("ddos")
    flows = build_flows(specs)
    ton_class = np.array([TON_CLASSES.index(name) for name in classes], dtype=np.int8)
    labels = Labels(
        malicious=(ton_class > 0).astype(np.int8),
        attack_class=np.array([CLASS_INDEX[class_from_ton(name)] for name in classes], dtype=np.int8),
        ton_class=ton_class,
        detail=np.array([name.encode() for name in classes], dtype="S48"),
    )
    return replace(flows, labels=labels, is_timed=False, started_at_s=np.zeros(len(flows)))


def _part(name: str, family: str, kind: str, flows: FlowBatch) -> Part:
    capture = Capture(name=name, family=family, group=name, kind=kind, paths=(Path(name),))  # type: ignore[arg-type]
    return Part(capture, flows)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Three benign devices, three scanning ones, and the table."""
    parts = []
    for number in range(FOLDS):
        parts.append(_part(f"good-{number}", "home-2020", "benign", benign_flows(f"192.168.1.{50 + number}")))
        parts.append(_part(f"bad-{number}", "iot23", "attack", scanning_flows(f"192.168.1.{60 + number}")))
    return Corpus(parts=tuple(parts), ton=ton_flows())


@pytest.fixture(scope="session")
def plan(corpus: Corpus) -> FoldPlan:
    """One good and one bad device per fold; pairs and sources by their order."""
    pairs, sources = np.unique(hash_pairs(corpus.ton)), np.unique(hash_sources(corpus.ton))
    return FoldPlan(
        count=FOLDS,
        captures={f"bad-{number}": number for number in range(FOLDS)},
        groups={f"good-{number}": number for number in range(FOLDS)},
        classes={AttackClass.SCAN: 0, AttackClass.DDOS: 1},
        ton_pairs={str(digest): number % FOLDS for number, digest in enumerate(pairs)},
        ton_sources={str(digest): number % FOLDS for number, digest in enumerate(sources)},
        sha256="0" * 64,
    )
