"""What no stream of flows may change: words do not look ahead, know no address, and do not feel the cut of a chunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from flow_builder import LAN, OUTSIDE, VOCABULARY, assert_same_words, join_chunks, random_flows, with_milestones
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode import neighbours, rhythm, sentence
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.word import known_at_s

few = settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
seeds = st.integers(0, 2**32 - 1)


def encode(flows: FlowBatch, chunk_words: int = 8192) -> WordBatch:
    return join_chunks(SentenceEncoder(VOCABULARY).encode(flows, chunk_words))


@contextmanager
def small_tables(housekeeping_events: int = 53) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence, "HOUSEKEEPING_EVENTS", housekeeping_events)
        patch.setattr(sentence, "DEVICE_LIMIT", 6)
        patch.setattr(sentence, "NEW_DEVICES_PER_HOUSEKEEPING", 4)
        patch.setattr(rhythm, "MEMORY_LIMIT", 8)
        patch.setattr(neighbours, "KNOWN_LIMIT", 6)
        yield


@few
@given(seed=seeds, chunk_words=st.sampled_from([1, 2, 7, 64, 500]), is_timed=st.booleans())
def test_the_cut_of_a_chunk_changes_no_word(seed: int, chunk_words: int, is_timed: bool) -> None:
    flows = replace(with_milestones(random_flows(seed, 150), seed), is_timed=is_timed)
    assert_same_words(encode(flows, chunk_words), encode(flows))
    assert encode(flows).is_probe.any() == is_timed


@few
@given(seed=seeds, chunk_words=st.integers(1, 120))
def test_not_even_where_tables_overflow(seed: int, chunk_words: int) -> None:
    flows = with_milestones(random_flows(seed, 200, hosts=20, peers=40, span_s=30), seed)
    with small_tables():
        whole, cut = SentenceEncoder(VOCABULARY), SentenceEncoder(VOCABULARY)
        assert_same_words(join_chunks(cut.encode(flows, chunk_words)), join_chunks(whole.encode(flows)))
        assert whole.evicted_count == cut.evicted_count > 0
        assert whole.devices == cut.devices


@pytest.mark.parametrize("chunk_words", [1000, 4095, 4096, 4097])
def test_nor_around_the_housekeeping_mark(chunk_words: int) -> None:
    flows = with_milestones(random_flows(5, 2500))
    assert_same_words(encode(flows, chunk_words), encode(flows, 1 << 20))


@few
@given(seed=seeds, row=st.integers(0, 119), state=st.sampled_from(["SF", "S0", "RSTO"]), other=seeds)
def test_an_opening_word_is_the_same_whatever_the_outcome(seed: int, row: int, state: str, other: int) -> None:
    flows, fate = random_flows(seed, 120), random_flows(other, 120)
    changed = {
        name: getattr(flows, name).copy()
        for name in ("duration_s", "orig_bytes", "resp_bytes", "orig_packets", "resp_packets", "history", "service",
                     "conn_state")
    }  # fmt: skip
    for name, values in changed.items():
        values[row] = getattr(fate, name)[row]
    changed["conn_state"][row] = CONN_STATE_CODE[state]
    altered = replace(flows, **changed)
    parting_s = min(known_at_s(flows)[row], known_at_s(altered)[row])
    one, two = (_up_to(encode(batch), parting_s) for batch in (flows, altered))
    assert_same_words(one, two)
    assert ((one.flow == row) & ~one.is_close).any()


def _up_to(words: WordBatch, before_s: float) -> WordBatch:
    return words.take(words.known_at_s < before_s)


@few
@given(seed=seeds, share=st.floats(0.05, 0.95))
def test_words_are_the_same_without_what_comes_later(seed: int, share: float) -> None:
    flows = random_flows(seed, 150)
    until_s = float(np.quantile(flows.started_at_s, share))
    kept = np.flatnonzero(flows.started_at_s < until_s)
    whole, cut = _up_to(encode(flows), until_s), _up_to(encode(flows.take(kept)), until_s)
    assert_same_words(whole, replace(cut, flow=kept[cut.flow]))


@few
@given(seed=seeds)
def test_addresses_mean_nothing_within_their_kind(seed: int) -> None:
    flows = random_flows(seed, 150)
    rng = np.random.default_rng(seed + 1)
    hosts, outside = LAN + np.arange(255), OUTSIDE + np.arange(256)
    mapping = dict(zip(hosts.tolist(), rng.permutation(hosts).tolist(), strict=True))
    elsewhere = rng.choice(1 << 24, 256, replace=False, shuffle=False) + OUTSIDE
    mapping |= dict(zip(outside.tolist(), elsewhere.tolist(), strict=True))
    moved = replace(
        flows,
        orig_address=_exchanged(flows.orig_address, mapping),
        resp_address=_exchanged(flows.resp_address, mapping),
    )
    assert (moved.orig_address != flows.orig_address).any()
    assert_same_words(encode(moved), encode(flows))


def _exchanged(addresses: npt.NDArray[np.uint64], mapping: dict[int, int]) -> npt.NDArray[np.uint64]:
    low = [mapping.get(value, value) for value in addresses[:, 1].tolist()]
    return np.stack([addresses[:, 0], np.array(low, dtype=np.uint64)], axis=1)


@few
@given(seed=seeds, shift_s=st.integers(-10_000_000, 10_000_000))
def test_the_hour_means_nothing(seed: int, shift_s: int) -> None:
    flows = random_flows(seed, 150)
    words, later = encode(flows), encode(replace(flows, started_at_s=flows.started_at_s + shift_s))
    assert_same_words(replace(later, known_at_s=words.known_at_s), words)


@few
@given(seed=seeds, overflows=st.booleans(), chunk_words=st.sampled_from([3, 64, 8192]))
def test_probes_change_no_other_word(seed: int, overflows: bool, chunk_words: int) -> None:
    flows = with_milestones(random_flows(seed, 200, hosts=12, span_s=60), seed)
    with small_tables(53 if overflows else 4096):
        probed, plain = encode(flows, chunk_words), encode(replace(flows, milestones=None))
    assert probed.is_probe.sum() > 20
    assert_same_words(probed.take(~probed.is_probe), plain)


@few
@given(seed=seeds, other=seeds)
def test_a_probe_knows_nothing_of_what_comes_after_it(seed: int, other: int) -> None:
    flows, fate = with_milestones(random_flows(seed, 120), seed), random_flows(other, 120)
    noted = flows.milestones
    assert noted is not None
    last_s = np.zeros(len(flows))
    last_s[noted.flow] = noted.elapsed_s
    letters = np.zeros(len(flows), dtype=np.int64)
    np.maximum.at(letters, noted.flow, noted.history_letters)
    ends = {name: getattr(fate, name) for name in ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets",
                                                   "conn_state")}  # fmt: skip
    history = [
        old[:count].ljust(count, b"x") + new
        for old, count, new in zip(flows.history.tolist(), letters, fate.history.tolist(), strict=True)
    ]
    kept = [old[:count].ljust(count, b"x") for old, count in zip(flows.history.tolist(), letters, strict=True)]
    begun = replace(flows, history=np.array(kept, dtype="S24"))
    altered = replace(
        flows, history=np.array(history, dtype="S24"), duration_s=np.nan_to_num(fate.duration_s) + last_s, **ends
    )
    # Outcomes that are known change what later words remember; only what stands before the first can be compared.
    for row in range(0, 120, 10):
        one, two = _only_differing(begun, altered, row)
        parting_s = min(known_at_s(one)[row], known_at_s(two)[row])
        assert_same_words(_up_to(encode(one), parting_s), _up_to(encode(two), parting_s))


def _only_differing(begun: FlowBatch, altered: FlowBatch, row: int) -> tuple[FlowBatch, FlowBatch]:
    """The same flows, but for how one of them goes on."""
    columns = ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets", "conn_state", "duration_s", "history")
    changed = {name: getattr(begun, name).copy() for name in columns}
    for name, values in changed.items():
        values[row] = getattr(altered, name)[row]
    return begun, replace(begun, **changed)


def test_words_of_one_flow_come_as_opening_probes_closing() -> None:
    words = encode(with_milestones(random_flows(7, 300)))
    assert (np.diff(words.known_at_s) >= 0).all()
    kinds = words.is_probe + 2 * words.is_close
    for flow in range(300):
        for is_orig in (True, False):
            mine = kinds[(words.flow == flow) & (words.is_orig == is_orig)].tolist()
            assert mine == sorted(mine) and mine.count(0) == mine.count(2) <= 1
