"""What holds for every attack: bounds, targets, determinism, labels."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lab_act_builder import BEGINS_S, aims_of, lan_address, peers_of, perform, strays
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.attacks import ATTACKS
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.prefix import require_inside

ELSEWHERE = ("198.18.0.0/15",)
LAN = ("10.77.0.0/24",)
SHOP = ("203.0.113.80",)
CAMERA, HUB, PLC = (lan_address("camera"),), (lan_address("hub"),), (lan_address("plc"),)

TARGETS = {
    "arp_spoof": CAMERA,
    "scan_horizontal": LAN,
    "scan_ping": ELSEWHERE,
    "scan_random": ELSEWHERE,
    "scan_slow": CAMERA,
    "spread": CAMERA,
    "invented_sweep": ELSEWHERE,
    "invented_siege": CAMERA,
    **dict.fromkeys(("scan_vertical", "scan_version", "scan_udp", "invented_search", "http_exploit"), CAMERA),
    **dict.fromkeys((act for act in ATTACKS if act.startswith("guess_") or act == "login"), CAMERA),
    **dict.fromkeys((act for act in ATTACKS if act.startswith("mqtt_") or act == "guess_mqtt"), HUB),
    **dict.fromkeys((act for act in ATTACKS if act.startswith("flood_") or act == "invented_surge"), SHOP),
    **dict.fromkeys(("modbus_write", "modbus_scan"), PLC),
}
"""Of those acts that have no target of their own."""

SILENT = {"arp_spoof"}
"""What causes no flow of its own."""


def given(act: str) -> dict[str, object]:
    return {"targets": TARGETS[act]} if act in TARGETS else {}


@pytest.mark.parametrize("act", sorted(ATTACKS))
def test_flows_go_where_the_aims_say_and_nowhere_else(act: str) -> None:
    flows = perform(act, given(act), lasts_s=20.0)
    assert (len(flows) == 0) == (act in SILENT)
    assert strays(flows, aims_of(act, given(act))) == []
    for address in peers_of(flows):
        require_inside(address)


@pytest.mark.parametrize("act", sorted(set(ATTACKS) - SILENT))
def test_flows_are_labelled_with_the_class(act: str) -> None:
    flows = perform(act, given(act), lasts_s=20.0)
    assert flows.labels is not None
    detail = set(flows.labels.detail[flows.labels.malicious == 1].tolist())
    assert len(detail) == 1
    assert ATTACKS[act].attack_class.value.encode() in detail.pop()


@pytest.mark.parametrize("act", sorted(set(ATTACKS) - SILENT))
def test_drawn_settings_end_in_time_and_repeat(act: str) -> None:
    kind = ATTACKS[act]
    for seed in range(2):
        drawn = {**draw_settings(kind.settings, random.Random(f"{act}:{seed}")), **given(act)}
        flows, again = (perform(act, drawn, seed=seed, lasts_s=6.0) for _ in range(2))
        assert strays(flows, aims_of(act, drawn)) == []
        if len(flows):
            began_s = flows.started_at_s - flows.started_at_s.min()
            assert began_s.max() <= 6.0 + BEGINS_S
        np.testing.assert_array_equal(flows.started_at_s, again.started_at_s)
        np.testing.assert_array_equal(flows.orig_bytes, again.orig_bytes)
        np.testing.assert_array_equal(flows.history, again.history)


@pytest.mark.parametrize("act", sorted(ATTACKS))
def test_catalogue_says_what_an_attack_is(act: str) -> None:
    kind = ATTACKS[act]
    assert kind.about.endswith(".")
    assert kind.technique.startswith("T")
    assert kind.attack_class not in (AttackClass.BENIGN, AttackClass.UNKNOWN)


def test_every_class_that_an_attack_can_have_is_there() -> None:
    named = {kind.attack_class for kind in ATTACKS.values()}
    assert named == set(AttackClass) - {AttackClass.BENIGN, AttackClass.UNKNOWN}
