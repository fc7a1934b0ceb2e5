"""Rhythm fields against a plain loop that remembers everything."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest

from flow_builder import START_S, VOCABULARY, column, join_chunks, random_flows
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode import rhythm
from thingwarden.encode.rhythm import FANOUT_HORIZON_S, REGULAR_RATIO, RENEWED_FIELDS
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import (
    COUNT_EDGES,
    FIELD_INDEX,
    GAP_EDGES_S,
    NOVELTIES,
    OPEN_FIELDS,
    RATE_EDGES,
    RATIO_EDGES,
    SAME_SIZES,
    SHARE_EDGES,
)
from thingwarden.encode.word import is_failed
from thingwarden.testing import FlowSpec, build_flows


def bucket(value: float, edges: tuple[float, ...]) -> int:
    return bisect_right(edges, value) + 1


def optional(value: float | None, edges: tuple[float, ...]) -> int:
    return len(edges) + 2 if value is None else bucket(value, edges)


@dataclass
class Past:
    """Everything that was ever said, in lists."""

    words: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    peer_opens: dict[tuple[object, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    peer_closes: dict[tuple[object, ...], list[bool]] = field(default_factory=lambda: defaultdict(list))
    peer_channels: dict[tuple[object, ...], set[object]] = field(default_factory=lambda: defaultdict(set))
    channel_opens: dict[tuple[object, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    channel_sizes: dict[tuple[object, ...], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    service_opens: dict[tuple[object, ...], int] = field(default_factory=lambda: defaultdict(int))
    service_peers: dict[tuple[object, ...], set[object]] = field(default_factory=lambda: defaultdict(set))
    opens: dict[tuple[object, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    fresh: dict[tuple[object, ...], list[float]] = field(default_factory=lambda: defaultdict(list))


def remember_everything(words: WordBatch, flows: FlowBatch) -> list[dict[str, int]]:
    past, expected = Past(), []
    failed = is_failed(flows)
    for device, row, is_close, is_orig, at_s in zip(
        words.device.tolist(), words.flow.tolist(), words.is_close.tolist(), words.is_orig.tolist(),
        words.known_at_s.tolist(), strict=True,
    ):  # fmt: skip
        peer = tuple((flows.resp_address if is_orig else flows.orig_address)[row].tolist())
        service = (int(flows.proto[row]), int(flows.resp_port[row]), is_orig)
        word = {
            "device_gap": optional(_gap(past.words[device], at_s), GAP_EDGES_S),
            "peer_failed": optional(_share(past.peer_closes[device, peer]), SHARE_EDGES),
        }
        past.words[device].append(at_s)
        if is_close:
            sizes = past.channel_sizes[device, peer, service]
            now = (int(flows.orig_bytes[row]), int(flows.resp_bytes[row]))
            word["same_size"] = SAME_SIZES.index(_same_size(sizes[-1] if sizes else None, now))
            sizes.append(now)
            past.peer_closes[device, peer].append(bool(failed[row]))
        else:
            word |= _opening(past, device, peer, service, at_s)
        expected.append(word)
    return expected


def _gap(instants_s: list[float], at_s: float) -> float | None:
    return at_s - instants_s[-1] if instants_s else None


def _share(outcomes: list[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None


def _same_size(before: tuple[int, int] | None, now: tuple[int, int]) -> str:
    if before is None:
        return "first"
    same = (before[0] == now[0], before[1] == now[1])
    return {(True, True): "same", (True, False): "same_orig", (False, True): "same_resp"}.get(same, "differs")


def _opening(past: Past, device: int, peer: object, service: tuple[int, int, bool], at_s: float) -> dict[str, int]:
    channel_s, peer_s = past.channel_opens[device, peer, service], past.peer_opens[device, peer]
    is_new, own = not channel_s, past.service_opens[device, service]
    novelty = "known_channel" if not is_new else "known_peer" if peer_s else "known_service" if own else "all_new"
    peer_gap_s = _gap(peer_s, at_s)
    past.peer_channels[device, peer].add(service)
    past.service_peers[device, service].add(peer)
    ratios = _ratios([*channel_s, at_s])
    side = (device, service[2])
    past.opens[side].append(at_s)
    if peer_gap_s is None or peer_gap_s > FANOUT_HORIZON_S:
        past.fresh[side].append(at_s)
    word = {
        "channel_gap": optional(_gap(channel_s, at_s), GAP_EDGES_S),
        "peer_gap": optional(peer_gap_s, GAP_EDGES_S),
        "interval_ratio": optional(ratios[-1], RATIO_EDGES),
        "regular_count": bucket(_run(ratios), COUNT_EDGES),
        "peer_contacts": bucket(len(peer_s), COUNT_EDGES),
        "peer_ports": bucket(len(past.peer_channels[device, peer]), COUNT_EDGES),
        "service_opens": bucket(own, COUNT_EDGES),
        "service_peers": bucket(len(past.service_peers[device, service]), COUNT_EDGES),
        "novelty": NOVELTIES.index(novelty),
    }
    for name, instants_s in (("rate", past.opens[side]), ("fanout", past.fresh[side])):
        for span_s in (1, 10, 60):
            if f"{name}_{span_s}s" in FIELD_INDEX:
                recent = sum(instant_s > at_s - span_s for instant_s in instants_s)
                word[f"{name}_{span_s}s"] = bucket(recent, RATE_EDGES)
    channel_s.append(at_s)
    peer_s.append(at_s)
    past.service_opens[device, service] += 1
    return word


def _ratios(instants_s: list[float]) -> list[float | None]:
    gaps_s = [later - earlier for earlier, later in pairwise(instants_s)]
    ratios = [later / earlier if earlier > 0 else None for earlier, later in pairwise(gaps_s)]
    return [None, None, *ratios][: len(instants_s)]


def _run(ratios: list[float | None]) -> int:
    run = 0
    for ratio in ratios:
        run = run + 1 if ratio is not None and REGULAR_RATIO[0] <= ratio <= REGULAR_RATIO[1] else 0
    return run


@pytest.mark.parametrize(("seed", "span_s", "chunk_words"), [(1, 400, 8192), (2, 20, 8192), (3, 3, 50), (4, 4000, 7)])
def test_every_field_is_what_a_perfect_memory_says(seed: int, span_s: int, chunk_words: int) -> None:
    flows = random_flows(seed, 250, hosts=3, peers=5, span_s=span_s)
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(flows, chunk_words))
    for index, expected in enumerate(remember_everything(words, flows)):
        found = {name: int(words.fields[index, FIELD_INDEX[name]]) for name in expected}
        assert found == expected, index


def test_a_closing_word_keeps_what_its_opening_said_but_for_what_is_renewed() -> None:
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(6, 200)))
    kept = [FIELD_INDEX[name] for name in OPEN_FIELDS if name not in (*RENEWED_FIELDS, "kind")]
    said = {
        (flow, is_orig): words.fields[index, kept].tolist()
        for index, (flow, is_orig, is_close) in enumerate(zip(words.flow, words.is_orig, words.is_close, strict=True))
        if not is_close
    }
    for index in np.flatnonzero(words.is_close):
        assert words.fields[index, kept].tolist() == said[words.flow[index], words.is_orig[index]]


def test_a_beacon_grows_ever_more_regular() -> None:
    flows = build_flows([FlowSpec(at_s=30.0 * beat, resp_port=6667) for beat in range(40)])
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(flows))
    regular = [value for value, is_close in zip(column(words, "regular_count"), words.is_close, strict=True)
               if not is_close]  # fmt: skip
    assert regular == [bucket(max(0, beat - 1), COUNT_EDGES) for beat in range(40)]


def test_memory_goes_on_between_batches() -> None:
    flows = random_flows(8, 120)
    flows = flows.take(np.argsort(flows.started_at_s))
    flows = replace(flows, started_at_s=START_S + np.arange(120) * 1000.0)  # every flow ends before the next begins
    whole = join_chunks(SentenceEncoder(VOCABULARY).encode(flows))
    encoder = SentenceEncoder(VOCABULARY)
    parts = [join_chunks(encoder.encode(flows.take(rows))) for rows in np.split(np.arange(120), [1, 50, 51])]
    np.testing.assert_array_equal(np.concatenate([part.fields for part in parts]), whole.fields)


def test_full_tables_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MEMORY_LIMIT", 50)
    encoder = SentenceEncoder(VOCABULARY)
    list(encoder.encode(random_flows(9, 3000, peers=400)))
    assert encoder.evicted_count > 50


def test_where_time_falls_between_calls_counts_stay_between_one_and_the_most() -> None:
    encoder = SentenceEncoder(VOCABULARY)
    for start_s in (1000.0, 940.0, 970.0):
        specs = [FlowSpec(at_s=start_s + n / 8) for n in range(200)]
        words = join_chunks(encoder.encode(build_flows(specs), 50))
        for name in ("rate_1s", "fanout_60s"):
            told = words.fields[~words.is_close, FIELD_INDEX[name]]
            least = 1 if name == "rate_1s" else 0
            assert bucket(least, RATE_EDGES) <= told.min() <= told.max() <= len(RATE_EDGES) + 1
