"""Plugs, bulbs and vacuums: their ways to a cloud, and being switched."""

from __future__ import annotations

import numpy as np

from play_builder import build_hosts, contacts, run_hosts
from thingwarden.lab.behaviour.devices_home import PLUG
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def test_makers_choose_between_polling_holding_and_mqtt() -> None:
    ways = set()
    for seed in range(40):
        traits = Traits(seed=str(seed), breadth=1.0)
        me = Identity(name="p", kind="plug", mac="", address="10.77.0.9", address6="", pace=1.0, traits=traits)
        ways |= {habit.name for habit in PLUG.habits(me)} & {"cloud", "report", "broadcast", "door-datagram"}
    assert ways == {"cloud", "report", "broadcast", "door-datagram"}


def test_switching_by_datagram_is_answered() -> None:
    flows = run_hosts(build_hosts(["plug", "bulb", "vacuum", "hub"]), duration_s=600.0)
    for port in (9998, 38899, 54321):
        states = {contact[2] for contact in contacts(flows.take(np.flatnonzero(flows.resp_port == port)))}
        assert "SF" in states


def test_cleaning_is_followed_by_a_large_upload() -> None:
    flows = run_hosts(build_hosts(["vacuum"]), duration_s=3600.0)
    assert flows.orig_bytes.max() > 50_000
