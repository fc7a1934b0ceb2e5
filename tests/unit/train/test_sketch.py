"""Sketches: whatever is drawn could have been recorded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.encode.address import is_unicast
from thingwarden.train.sketch import BENIGN, DIALOGUE_STATES, HISTORIES, MALICIOUS, OWNER, Contact, log_uniform, sketch

DRAWS = 6
BEHAVIOURS = [(f"{draw.__name__}-{label.value}-{number}", draw) for number, (draw, label) in enumerate(
    (*MALICIOUS, *BENIGN))]  # fmt: skip


@pytest.mark.parametrize(("name", "draw"), BEHAVIOURS, ids=[name for name, _ in BEHAVIOURS])
def test_every_behaviour_draws_contacts_that_can_be(name: str, draw: Callable[[np.random.Generator], Contact]) -> None:
    for seed in range(DRAWS):
        contact = draw(np.random.default_rng(seed))
        count = len(contact.start_s)
        assert count > 0 and contact.start_s[0] == 0.0, name
        assert (np.diff(contact.start_s) >= 0).all() and np.isfinite(contact.start_s).all()
        assert ((contact.port >= 0) & (contact.port <= 65535)).all()
        assert (contact.sent >= 0).all() and (contact.received >= 0).all() and (contact.span_s > 0).all()
        assert {len(column) for column in (contact.peer, contact.port, contact.state, contact.sent, contact.received,
                                           contact.span_s)} == {count}  # fmt: skip
        assert set(contact.state.tolist()) <= set(CONN_STATE_CODE)


@pytest.mark.parametrize("malicious", [True, False])
def test_every_sketch_is_a_life_of_valid_flows(malicious: bool) -> None:
    for seed in range(24):
        flows = sketch(np.random.default_rng(seed), malicious=malicious).flows
        is_owner = (flows.orig_address == OWNER).all(axis=1) | (flows.resp_address == OWNER).all(axis=1)
        assert is_owner.all() and flows.is_timed
        assert is_unicast(flows.orig_address).all() and is_unicast(flows.resp_address).all()
        assert (np.nan_to_num(flows.duration_s) >= 0).all()
        for name in ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets"):
            assert (getattr(flows, name) >= 0).all(), name
        assert (flows.orig_packets > 0).all()
        assert flows.labels is not None
        assert set(flows.labels.malicious.tolist()) == {int(malicious)}
        assert ((flows.labels.attack_class == CLASS_INDEX[AttackClass.BENIGN]) != malicious).all()


def test_unanswered_contacts_carry_no_answer() -> None:
    for seed in range(24):
        flows = sketch(np.random.default_rng(seed), malicious=seed % 2 == 0).flows
        silent = flows.conn_state == CONN_STATE_CODE["S0"]
        assert not flows.resp_bytes[silent].any() and not flows.resp_packets[silent].any()


def test_a_seed_draws_the_same_again() -> None:
    for malicious in (True, False):
        one, two, other = (sketch(np.random.default_rng(seed), malicious=malicious) for seed in (7, 7, 8))
        assert _is_equal(one.flows, two.flows) and not _is_equal(one.flows, other.flows)


def _is_equal(one: FlowBatch, other: FlowBatch) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name.endswith("_s"))
        for name in ("started_at_s", "duration_s", "resp_address", "resp_port", "orig_bytes", "conn_state", "history")
    )


def test_every_state_of_a_dialogue_has_a_history() -> None:
    assert set(DIALOGUE_STATES) <= set(HISTORIES) <= set(CONN_STATE_CODE)


def test_log_uniform_stays_within_its_bounds() -> None:
    rng = np.random.default_rng(0)
    draws = np.array([log_uniform(rng, 0.1, 1000.0) for _ in range(2000)])
    assert draws.min() >= 0.1 and draws.max() <= 1000.0
    assert 0.4 < (draws < 10.0).mean() < 0.6


def test_an_absent_class_is_never_sketched() -> None:
    absent = (AttackClass.C2, AttackClass.SCAN)
    names = {sketch(np.random.default_rng(seed), malicious=True, absent=absent).name for seed in range(60)}
    assert names and not names & {f"sketch/{attack_class.value}" for attack_class in absent}


def test_where_every_attack_is_absent_a_benign_behaviour_is_drawn() -> None:
    life = sketch(np.random.default_rng(0), malicious=True, absent=tuple(AttackClass))
    assert life.flows.labels is not None and not life.flows.labels.malicious.any()
