"""Random traffic of a small network, and the words that it gives, for the tests of encode, model and train.

In: a seed and how many flows. Out: ``FlowBatch`` and ``WordBatch``.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np

from thingwarden.domain.flow import CONN_STATE_CODE, MOST_MILESTONES, FlowBatch, Milestones
from thingwarden.domain.word import WordBatch
from thingwarden.encode.vocabulary import FIELD_INDEX, Vocabulary

START_S = 1_700_000_000.0
TICKS_PER_S = 64
"""Instants are whole ticks: exact in float64 and in microseconds, so that a shift of whole seconds rounds nothing."""

V4 = 0xFFFF << 32
LAN = V4 | 0xC0A80100
OUTSIDE = V4 | 0x2D000000
STATES = ("SF", "S0", "REJ", "RSTO", "S1", "OTH", "SH")
PORTS = (23, 53, 80, 443, 1883, 40_001)
VOCABULARY = Vocabulary(services=(b"dns", b"http", b"ssl"), histories=(b"S", b"ShADadFf", b"Sr", b"Dd"))


def random_flows(seed: int, count: int, *, hosts: int = 8, peers: int = 12, span_s: int = 400) -> FlowBatch:
    """Flows of hosts in 192.168.1.0/24 with each other, the internet and groups; unanswered ones among them.

    Hosts with an even number have a MAC. Times are in no order.
    """
    rng = np.random.default_rng(seed)
    inside = (LAN + 10 + rng.integers(0, hosts, (count, 2))).astype(np.uint64)
    outside = (OUTSIDE + 7 * rng.integers(0, peers, count)).astype(np.uint64)
    odd = np.array([V4 | 0xEFFFFFFA, V4 | 0xFFFFFFFF, V4 | 0xC0A801FF, V4 | 0x0A000005], dtype=np.uint64)
    kind = rng.random(count)
    orig = np.where(kind < 0.15, outside, inside[:, 0])
    resp = np.select([kind < 0.35, kind < 0.85], [inside[:, 1], outside], rng.choice(odd, count))
    mac = np.where((orig % 2 == 0) & (orig >> np.uint64(8) == LAN >> 8), 0x020000000000 + (orig & np.uint64(0xFF)), 0)
    state = rng.choice(np.array([CONN_STATE_CODE[name] for name in STATES], dtype=np.uint8), count)
    answered = rng.random(count) < 0.6
    zero = np.zeros(count, dtype=np.uint64)
    return FlowBatch.unknown(
        count,
        started_at_s=START_S + rng.integers(0, span_s * TICKS_PER_S, count) / TICKS_PER_S,
        duration_s=np.where(rng.random(count) < 0.2, np.nan, rng.integers(0, 640, count) / TICKS_PER_S),
        proto=rng.choice(np.array([6, 6, 6, 17, 1], dtype=np.uint8), count),
        orig_address=np.stack([zero, orig], axis=1),
        resp_address=np.stack([zero, resp], axis=1),
        orig_port=rng.choice(np.array([53, 5353, 33_000, 50_000], dtype=np.uint16), count),
        resp_port=rng.choice(np.array(PORTS, dtype=np.uint16), count),
        orig_bytes=rng.choice(np.array([-1, 0, 40, 40, 900], dtype=np.int64), count),
        resp_bytes=np.where(answered, rng.choice(np.array([0, 60, 60, 5000]), count), 0).astype(np.int64),
        orig_packets=rng.integers(1, 9, count),
        resp_packets=np.where(answered, rng.integers(1, 9, count), 0),
        conn_state=state,
        history=rng.choice(np.array([b"", b"S", b"ShADadFf", b"Sr", b"DTd"], dtype="S24"), count),
        service=rng.choice(np.array([b"", b"dns", b"http", b"ssh"], dtype="S24"), count),
        orig_mac=mac.astype(np.uint64),
    )


def with_milestones(flows: FlowBatch, seed: int = 0) -> FlowBatch:
    """The flows with up to ``MOST_MILESTONES`` milestones each, none after its last packet."""
    rng = np.random.default_rng(seed)
    flow = np.repeat(np.arange(len(flows)), rng.choice([0, 0, 1, 2, MOST_MILESTONES], len(flows)))
    span_s = np.nan_to_num(flows.duration_s)[flow]
    elapsed_s = np.floor(rng.random(len(flow)) * span_s * TICKS_PER_S) / TICKS_PER_S
    order = np.lexsort((elapsed_s, flow))
    noted = Milestones(
        flow=flow,
        elapsed_s=elapsed_s[order],
        orig_bytes=rng.integers(-1, 900, len(flow)),
        resp_bytes=rng.integers(-1, 900, len(flow)),
        orig_packets=rng.integers(1, 300, len(flow)),
        resp_packets=rng.integers(0, 300, len(flow)),
        conn_state=rng.choice(flows.conn_state, len(flow)) if len(flows) else np.zeros(0, dtype=np.uint8),
        history_letters=rng.integers(0, 9, len(flow)).astype(np.uint8),
        has_service=rng.random(len(flow)) < 0.5,
    )
    return replace(flows, milestones=noted)


def join_chunks(chunks: Iterable[WordBatch]) -> WordBatch:
    """All words of an encoder's chunks in one batch."""
    listed = list(chunks)
    return WordBatch(
        **{item.name: np.concatenate([getattr(c, item.name) for c in listed]) for item in fields(WordBatch)}
    )


def assert_same_words(one: WordBatch, other: WordBatch) -> None:
    """Equal in every column."""
    for item in fields(WordBatch):
        np.testing.assert_array_equal(getattr(one, item.name), getattr(other, item.name), err_msg=item.name)


def column(words: WordBatch, name: str) -> list[int]:
    """The buckets of one field, word by word."""
    buckets: list[int] = words.fields[:, FIELD_INDEX[name]].tolist()
    return buckets
