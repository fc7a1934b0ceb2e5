"""What holds for every attack: bounds, targets, determinism, labels."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lab_act_builder import BEGINS_S, aims_of, attack_of, lan_address, origins_of, peers_of, perform, strays
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
def test_flows_go_where_the_aims_say_with_the_label_of_the_class(act: str) -> None:
    flows = perform(act, given(act), lasts_s=10.0)
    assert strays(flows, aims_of(act, given(act))) == []
    for address in peers_of(flows):
        require_inside(address)
    assert (len(flows) == 0) == (act in SILENT)
    if flows.labels is not None:
        details = {bytes(detail) for detail in flows.labels.detail[flows.labels.malicious == 1]}
        assert details == {f"{ATTACKS[act].attack_class.value}:{act}-1".encode()}


@pytest.mark.parametrize("act", sorted(set(ATTACKS) - SILENT))
def test_drawn_settings_end_in_time_and_repeat(act: str) -> None:
    kind = ATTACKS[act]
    drawn = {**draw_settings(kind.settings, random.Random(f"{act}:2")), **given(act)}
    flows, again = (perform(act, drawn, seed=2, lasts_s=2.0) for _ in range(2))
    assert strays(flows, aims_of(act, drawn)) == []
    if len(flows):
        began_s = flows.started_at_s - flows.started_at_s.min()
        assert began_s.max() <= 2.0 + BEGINS_S
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
    assert named == set(AttackClass) - {AttackClass.BENIGN, AttackClass.UNKNOWN, AttackClass.UNREACHABLE_PEER}


CAMERA6, CONTROL6 = ("2001:db8:77::15",), ("2001:db8:100:1::42",)


@pytest.mark.parametrize("target", [CAMERA, CAMERA6])
@pytest.mark.parametrize(
    ("act", "settings"),
    [
        ("scan_random", {"port": 80, "second_port": 81, "count": 20}),
        ("scan_vertical", {"top_ports": 20}),
        ("guess_telnet", {"tries": 6}),
        ("guess_http", {"tries": 10, "port": 80}),
        ("flood_connect", {"count": 40, "port": 80}),
        ("http_exploit", {"port": 80}),
        ("invented_siege", {"port": 80, "count": 5, "speaks": "http"}),
    ],
)
def test_internet_attacks_devices_over_both_families(act: str, settings: dict[str, object], target: tuple[str]) -> None:
    flows = perform(act, {"targets": target, **settings}, host="internet", lasts_s=20.0)
    attack = attack_of(flows)
    assert len(attack) > 0
    assert strays(flows, aims_of(act, {"targets": target, **settings})) == []
    assert peers_of(attack) == set(target)
    assert not any(address.startswith(("10.77.", "2001:db8:77:")) for address in origins_of(attack))


@pytest.mark.parametrize(
    "act",
    ["c2_tcp", "c2_http", "c2_udp", "c2_dns", "download", "exfiltrate_slow", "invented_beacon"],
)
def test_control_over_ipv6_is_answered(act: str) -> None:
    attack = attack_of(perform(act, {"targets": CONTROL6}, lasts_s=40.0))
    assert peers_of(attack) == set(CONTROL6)
    assert attack.resp_packets.min() > 0


def test_tftp_over_ipv6_is_answered() -> None:
    flows = perform("download", {"targets": CONTROL6, "way": "tftp", "file_bytes": 5_000})
    assert flows.resp_bytes.sum() > 5_000
