"""The cast: every attack of the catalogue can be drawn, is given what it can work on, and lasts long enough."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter

import pytest

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES
from thingwarden.lab.cast import ATTACK_PARTS, ODDITY_PARTS, cast_attack, cast_oddity, draw_event_settings, log_uniform
from thingwarden.lab.draw import REAL_KINDS
from thingwarden.lab.events import EVENTS
from thingwarden.lab.prefix import LAN, require_inside
from thingwarden.lab.timeline import Host, Perform, Planned
from thingwarden.lab.traits import Traits

DURATION_S = 20_000.0
HOSTS = {
    f"{kind}-{number}": Host(
        name=f"{kind}-{number}",
        kind=kind,
        address=str(LAN.network_address + number),
        address6=f"2001:db8:77::{number:x}",
        mac=f"02:00:00:00:00:{number:02x}",
        pace=1.0,
        traits=Traits(seed=f"{kind}-{number}", breadth=0.5),
    )
    for number, kind in enumerate(REAL_KINDS, start=10)
}


@pytest.fixture(scope="module")
def attacks() -> list[list[Planned]]:
    return [cast_attack(random.Random(f"{seed}"), HOSTS, DURATION_S, seed) for seed in range(400)]


def _performed(planned: list[Planned]) -> list[Perform]:
    return [item.action for item in planned if isinstance(item.action, Perform)]


def test_every_attack_can_be_drawn_and_every_harmless_event() -> None:
    malicious = {name for name, kind in ACTS.items() if kind.attack_class is not AttackClass.BENIGN}
    assert malicious <= set(ATTACK_PARTS) <= set(ACTS) | set(EVENTS)
    assert {name for name, event in EVENTS.items() if event.is_hard_negative} - {"new_device"} == set(ODDITY_PARTS)


def test_draws_cover_the_classes_and_call_home_most(attacks: list[list[Planned]]) -> None:
    classes = Counter(action.attack_class for planned in attacks for action in _performed(planned)[:1])
    assert set(classes) == {ACTS[act].attack_class for act in ATTACK_PARTS if act in ACTS}
    assert classes[AttackClass.C2] == max(classes.values())


def test_attacks_stay_inside_the_lab_and_the_run(attacks: list[list[Planned]]) -> None:
    for planned in attacks:
        assert all(0.0 < item.at_s < DURATION_S for item in planned)
        for action in _performed(planned):
            for aim in action.aims:
                require_inside(aim.peer)


def test_visited_doors_are_open(attacks: list[list[Planned]]) -> None:
    by_address = {host.address: host for host in HOSTS.values()} | {host.address6: host for host in HOSTS.values()}
    opened = []
    for action in (action for planned in attacks for action in _performed(planned)):
        role = {"guess_rtsp": "rtsp", "guess_telnet": "telnet", "modbus_write": "modbus"}.get(action.act)
        if role is not None:
            host = by_address[action.settings["targets"][0]]  # type: ignore[index]
            door = DEVICES[host.kind].doors.get(role)
            opened.append(door is not None and action.settings["port"] == door.drawn(role, host.traits))
    assert sum(opened) >= 0.6 * len(opened) > 0


def test_what_has_a_period_lasts_for_some_of_them() -> None:
    lasts = []
    for seed in range(300):
        for action in _performed(cast_attack(random.Random(f"{seed}"), HOSTS, DURATION_S, seed)):
            period_s = action.settings.get("period_s")
            if isinstance(period_s, float) and action.act.startswith("c2_"):
                lasts.append(action.lasts_s / period_s)
    assert sum(ratio > 5 for ratio in lasts) > 0.7 * len(lasts) > 0


def test_both_ip_versions_and_the_outside_take_part(attacks: list[list[Planned]]) -> None:
    performed = [action for planned in attacks for action in _performed(planned)]
    assert any(action.host == "internet" for action in performed)
    peers = {aim.peer for action in performed for aim in action.aims}
    assert {ipaddress.ip_network(peer).version for peer in peers} == {4, 6}


def test_harmless_events_are_harmless() -> None:
    kinds = set()
    for seed in range(300):
        planned = cast_oddity(random.Random(f"{seed}"), HOSTS, DURATION_S, 1)
        kinds |= {item.event.rpartition("-")[0] for item in planned}
        assert all(action.attack_class is AttackClass.BENIGN for action in _performed(planned))
    assert kinds == set(ODDITY_PARTS)


def test_nobody_to_work_on_gives_nothing() -> None:
    alone = {name: host for name, host in HOSTS.items() if host.kind == "bulb"}
    drawn = [cast_attack(random.Random(f"{seed}"), alone, DURATION_S, 1) for seed in range(200)]
    assert any(not planned for planned in drawn)
    assert not any(action.act == "modbus_write" for planned in drawn for action in _performed(planned))


def test_settings_are_drawn_widely() -> None:
    periods = [draw_event_settings("c2_tcp", random.Random(f"{seed}"))["period_s"] for seed in range(100)]
    assert max(periods) > 100 * min(periods)  # type: ignore[operator, type-var]
    hopping = ["hop_ports" in draw_event_settings("c2_tcp", random.Random(f"{seed}")) for seed in range(200)]
    assert 5 < sum(hopping) < 80


def test_log_uniform_gives_each_decade_the_same_share() -> None:
    rng = random.Random("x")
    drawn = [log_uniform(rng, 1.0, 1000.0) for _ in range(3000)]
    assert sum(value < 10 for value in drawn) == pytest.approx(1000, rel=0.1)
