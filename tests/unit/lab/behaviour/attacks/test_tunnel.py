"""Names that carry data."""

from __future__ import annotations

import random
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_act_builder import StillWorld, begun_at_s, perform, states_of
from thingwarden.lab.behaviour.attacks.hostile import answer_query
from thingwarden.lab.behaviour.attacks.tunnel import MOST_NAME_BYTES, encode_name
from thingwarden.lab.behaviour.protocol.dns import encode_query
from thingwarden.lab.world import World


@given(st.integers(0, 2**31), st.integers(1, 400), st.integers(1, 1100))
def test_names_are_names_and_get_what_they_wish_for(seed: int, carried_bytes: int, answer_bytes: int) -> None:
    world = StillWorld()
    world.rng = random.Random(seed)
    name = encode_name(cast(World, world), carried_bytes, answer_bytes)
    assert len(name) <= 253
    assert all(0 < len(label) <= 63 for label in name.split("."))
    query = encode_query(7, name, 16)
    answer = answer_query(query)
    assert answer[:2] == query[:2]
    assert len(answer) == len(query) + 12 + answer_bytes


def test_beacons_are_single_queries() -> None:
    flows = perform("c2_dns", {"period_s": 20.0, "jitter": 0.0, "spread": 0.0}, lasts_s=300.0)
    assert len(flows) == 15
    assert set(flows.service.tolist()) == {b"dns"}
    assert set(states_of(flows)) == {"SF"}
    assert np.diff(begun_at_s(flows)) == pytest.approx(20.0, abs=0.1)


def test_stream_is_fast_and_fat() -> None:
    settings = {"period_s": 0.1, "count": 100, "sent_bytes": MOST_NAME_BYTES, "answer_bytes": 900, "spread": 0.0}
    flows = perform("dns_tunnel", settings, lasts_s=100.0)
    assert len(flows) == 100
    assert flows.orig_bytes.min() > 200
    assert flows.resp_bytes.min() > 900


def test_one_socket_makes_one_flow() -> None:
    flows = perform("dns_tunnel", {"new_port_share": 0.0, "count": 50}, lasts_s=60.0)
    assert len(flows) == 1
    assert flows.orig_packets[0] == 50
