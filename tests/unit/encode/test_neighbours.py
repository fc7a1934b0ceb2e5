"""What a peer is, by a plain loop over everything heard so far."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from flow_builder import VOCABULARY, column, join_chunks, random_flows
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.domain.word import WordBatch
from thingwarden.encode import neighbours
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import PEER_KINDS
from thingwarden.testing import FlowSpec, build_flows

HOST, OTHER, ROUTER, RESOLVER = "192.168.1.10", "192.168.1.20", "192.168.1.1", "9.9.9.9"


def encode(flows: FlowBatch, chunk_words: int = 8192) -> WordBatch:
    return join_chunks(SentenceEncoder(VOCABULARY).encode(flows, chunk_words))


def kinds(specs: list[FlowSpec]) -> list[str]:
    """Of the originators' opening words, in the order of the flows."""
    words = encode(build_flows(specs))
    opens = np.flatnonzero(~words.is_close & words.is_orig)
    found = np.array(PEER_KINDS)[np.array(column(words, "peer_kind"))[opens]]
    return [str(name) for name in found[np.argsort(words.flow[opens])]]


def question(at_s: float, server: str, **changes: object) -> FlowSpec:
    return FlowSpec(at_s=at_s, resp=server, proto="udp", resp_port=53, **changes)  # type: ignore[arg-type]


def test_a_local_host_that_answers_names_or_leases_is_the_gateway_once_it_has_answered() -> None:
    lease = FlowSpec(at_s=200.0, resp="192.168.1.2", proto="udp", orig_port=68, resp_port=67)
    later = FlowSpec(at_s=400.0, resp="192.168.1.2", resp_port=443)
    told = kinds([question(0.0, ROUTER), FlowSpec(at_s=100.0, resp=ROUTER, resp_port=80), lease, later])
    assert told == ["unknown", "gateway", "unknown", "gateway"]


def test_a_far_host_that_answers_names_is_a_name_server() -> None:
    silent = {"conn_state": "S0", "resp_bytes": 0}
    assert kinds([question(0.0, RESOLVER, **silent), question(100.0, RESOLVER), question(200.0, RESOLVER)]) == [
        "internet", "internet", "dns_server",
    ]  # fmt: skip


def test_a_local_host_is_unknown_until_it_speaks() -> None:
    specs = [
        FlowSpec(at_s=0.0, resp=OTHER, conn_state="S0", resp_bytes=0),
        FlowSpec(at_s=10.0, resp=OTHER, conn_state="S0", resp_bytes=0),
        FlowSpec(at_s=20.0, orig=OTHER, resp=RESOLVER),
        FlowSpec(at_s=21.0, resp=OTHER),
    ]
    assert kinds(specs) == ["unknown", "unknown", "internet", "same_lan"]


def test_an_answer_on_another_port_makes_no_server() -> None:
    assert kinds([FlowSpec(resp=RESOLVER, resp_port=443), FlowSpec(at_s=90.0, resp=RESOLVER)])[1] == "internet"
    assert kinds([FlowSpec(resp=ROUTER, resp_port=443), FlowSpec(at_s=90.0, resp=ROUTER)])[1] == "same_lan"


def test_without_time_the_address_alone_decides() -> None:
    words = encode(replace(build_flows([question(0.0, ROUTER), question(9.0, ROUTER)]), is_timed=False))
    assert set(column(words, "peer_kind")) == {PEER_KINDS.index("same_lan")}


def _expected(words: WordBatch, flows: FlowBatch) -> list[str | None]:
    """None where the address alone decides."""
    heard: set[object] = set()
    serving: set[object] = set()
    told: list[str | None] = []
    sides = zip(words.flow.tolist(), words.is_close.tolist(), words.is_orig.tolist(), strict=True)
    for (row, is_close), words_of_event in groupby(sides, key=lambda side: side[:2]):
        orig, resp = (tuple(ends[row].tolist()) for ends in (flows.orig_address, flows.resp_address))
        for _, _, is_orig in words_of_event:
            told.append(None if orig == resp else _told_of(resp if is_orig else orig, heard, serving))
        is_answer = is_close and bool(flows.resp_packets[row] > 0 or flows.resp_bytes[row] > 0)
        if not is_close:
            heard.add(orig)
        elif is_answer:
            heard.add(resp)
        if is_answer and flows.resp_port[row] == 53 and flows.proto[row] in (6, 17):
            serving.add(resp)
    return told


def _told_of(peer: tuple[int, int], heard: set[object], serving: set[object]) -> str | None:
    address = address_from_words(*peer)
    if address.is_multicast or address.packed[-1] == 255:
        return None
    if address.is_private:
        return "gateway" if peer in serving else None if peer in heard else "unknown"
    return "dns_server" if peer in serving else None


@pytest.mark.parametrize(("seed", "chunk_words"), [(1, 8192), (2, 40), (3, 7)])
def test_kinds_are_what_a_perfect_memory_says(seed: int, chunk_words: int) -> None:
    flows = random_flows(seed, 300, span_s=3000)
    words = encode(flows, chunk_words)
    named = [name for name, is_close in zip(_expected(words, flows), words.is_close, strict=True) if not is_close]
    found = [PEER_KINDS[kind] for kind, is_close in zip(column(words, "peer_kind"), words.is_close, strict=True)
             if not is_close]  # fmt: skip
    special = {"gateway", "dns_server", "unknown"}
    assert [kind if kind in special else None for kind in found] == named
    assert special <= set(found)


def test_what_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "KNOWN_LIMIT", 4)
    known = neighbours.Neighbours()
    flows = random_flows(1, 100, hosts=40)
    rows = np.arange(100)
    known.name(
        np.zeros(0, dtype=np.uint8), np.zeros((0, 2), dtype=np.uint64), np.zeros(0, dtype=np.int64),
        flows=flows, row=rows, is_close=rows < 0, at_s=flows.started_at_s,
    )  # fmt: skip
    known.trim()
    assert known.evicted_count > 10
