"""The hub's rounds among its neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from play_builder import FIRST_ADDRESS, build_hosts, contacts, run_hosts
from thingwarden.lab.behaviour.reach import door_of
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity

NEIGHBOURS = ["hub", "plug", "bulb", "thermostat", "camera", "coap-sensor", "printer"]


def test_hub_asks_every_neighbour_that_opens_a_door() -> None:
    flows = run_hosts(build_hosts(NEIGHBOURS), duration_s=600.0)
    begun = flows.take(np.flatnonzero(flows.orig_address[:, 1] & 0xFF == FIRST_ADDRESS))
    asked = set((begun.resp_address[:, 1] & 0xFF).tolist())
    assert set(range(FIRST_ADDRESS + 1, FIRST_ADDRESS + len(NEIGHBOURS))) <= asked


def test_hub_finds_the_ports_that_its_neighbours_makers_chose() -> None:
    hosts = list(build_hosts(["hub", "plug"]))
    hosts[1] = replace(hosts[1], traits=Traits(seed="odd-1", breadth=1.0))
    me = Identity(
        name="hub-0", kind="hub", mac="", address="10.77.0.10", address6="", pace=1.0, traits=Traits(seed="1"),
        peers={"plug-1": "10.77.0.11"}, kinds={"plug-1": "plug"}, peer_traits={"plug-1": hosts[1].traits},
    )  # fmt: skip
    ports = {door_of(me, "plug-1", "control"), door_of(me, "plug-1", "datagram")}
    assert ports != {9999, 9998}
    answered = {contact[1] for contact in contacts(run_hosts(hosts, duration_s=600.0)) if contact[2] == "SF"}
    assert ports <= answered


def test_hub_without_neighbours_still_lives() -> None:
    assert len(run_hosts(build_hosts(["hub"]), duration_s=600.0)) > 20
