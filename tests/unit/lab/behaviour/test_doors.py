"""The table of open ports."""

from __future__ import annotations

from thingwarden.lab.behaviour.catalogue import DEVICES
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def test_every_kind_in_the_table_opens_what_it_says() -> None:
    for kind, doors in DOORS.items():
        assert DEVICES[kind].doors is doors
        me = Identity(
            name="a",
            kind=kind,
            mac="",
            address="10.77.0.9",
            address6="",
            pace=1.0,
            traits=Traits(seed="1", breadth=1.0),
        )
        for role in DEVICES[kind].handlers(me):
            assert doors[role].transport == "tcp"


def test_doors_of_one_kind_do_not_collide_by_default() -> None:
    for doors in DOORS.values():
        usual = [(door.transport, door.port) for door in doors.values()]
        assert len(set(usual)) == len(usual)
