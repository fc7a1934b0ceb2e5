"""Each event expands to the acts, cuts and losses of power that its name promises, inside its bounds."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.catalogue import ACTS
from thingwarden.lab.events import EVENTS, Occasion, expand
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.timeline import Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore
from thingwarden.lab.traits import Traits


def host(name: str, number: int, *, joins: bool = False) -> Host:
    return Host(
        name=name,
        kind="plug",
        address=f"10.77.0.{number}",
        address6=f"2001:db8:77::{number:x}",
        mac=f"02:77:00:00:00:{number:02x}",
        pace=1.0,
        traits=Traits(seed=name),
        joins=joins,
    )


HOSTS = {one.name: one for one in (host("hub", 2), host("tv", 51), host("camera", 22), host("late", 60, joins=True))}
OCCASION = Occasion(
    name="any-1",
    by=("tv",),
    on=("camera",),
    ip_version=4,
    begins_s=100.0,
    lasts_s=40.0,
    settings={},
    varies=False,
    hosts=HOSTS,
    rng=random.Random(1),
    place="scenario test, events.0 (any)",
)


def occasion(**changes: object) -> Occasion:
    return replace(OCCASION, rng=random.Random(1), **changes)  # type: ignore[arg-type]


def performed(planned: Iterable[Planned]) -> list[Perform]:
    return [item.action for item in planned if isinstance(item.action, Perform)]


CASTS: dict[str, dict[str, object]] = {
    "broker_outage": {"by": (), "on": ("hub",)},
    "cloud_outage": {"by": (), "on": ("vendor.example", "plug-cloud.example")},
    "dns_outage": {"by": (), "on": ()},
    "isp_outage": {"by": (), "on": ()},
    "ntp_outage": {"by": (), "on": ()},
    "new_device": {"by": ("late",), "on": ()},
    "break_in": {"by": ("tv",), "on": ("camera",)},
    "worm": {"by": ("tv",), "on": ("camera", "hub")},
    "botnet_flood": {"by": ("tv", "camera"), "on": ("shop.example",)},
}
ALONE: dict[str, object] = {"by": ("tv", "camera"), "on": ()}


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_everything_stays_inside_its_bounds_and_the_lab(kind: str) -> None:
    planned = expand(kind, occasion(**CASTS.get(kind, ALONE)))
    assert planned
    for item in planned:
        assert item.event == "any-1"
        assert 100.0 <= item.at_s <= 140.0
        if isinstance(item.action, Perform):
            assert item.at_s + item.action.lasts_s <= 140.01
            ACTS[item.action.act].settings.model_validate(item.action.settings)
            assert item.action.aims
            for aim in item.action.aims:
                require_inside(aim.peer)


@pytest.mark.parametrize("kind", sorted(kind for kind in EVENTS if EVENTS[kind].is_hard_negative))
def test_hard_negatives_are_benign_and_undo_what_they_cut(kind: str) -> None:
    planned = sorted(expand(kind, occasion(**CASTS.get(kind, ALONE))), key=lambda item: item.at_s)
    assert all(act.attack_class is AttackClass.BENIGN for act in performed(planned))
    missing: set[str] = set()
    for item in planned:
        match item.action:
            case Cut(target=name) | PowerOff(host=name):
                missing.add(name)
            case Restore(target=name) | PowerOn(host=name):
                missing.discard(name)
    assert not missing


def test_all_the_hard_negatives_of_the_design_are_there() -> None:
    wanted = {
        "cloud_outage", "broker_outage", "dns_outage", "ntp_outage", "isp_outage", "dead_vendor", "new_device",
        "power_cut", "firmware_update", "owner_scan", "backup", "address_change", "captive_portal", "video_call",
        "printer_storm", "time_change",
    }  # fmt: skip
    assert wanted == {kind for kind, event in EVENTS.items() if event.is_hard_negative}


def test_an_act_is_an_event_of_its_own() -> None:
    (item,) = expand("guess_telnet", occasion(settings={"tries": 7}))
    assert isinstance(item.action, Perform)
    assert item.action.settings == {"targets": ("10.77.0.22",), "lasts_s": 40.0, "tries": 7}
    assert item.action.attack_class is AttackClass.BRUTE_FORCE
    assert [aim.peer for aim in item.action.aims] == ["10.77.0.22"]


def test_several_offenders_act_together_but_not_in_the_same_instant() -> None:
    planned = expand("guess_telnet", occasion(by=("tv", "hub")))
    assert [act.host for act in performed(planned)] == ["tv", "hub"]
    first, second = (item.at_s for item in planned)
    assert 0 < abs(first - second) <= 2.0


def test_targets_are_addressed_in_the_version_that_is_asked_for() -> None:
    (act,) = performed(expand("guess_telnet", occasion(ip_version=6)))
    assert act.aims[0].peer == "2001:db8:77::16"


def test_a_setting_that_starts_with_an_at_sign_names_a_host() -> None:
    (act,) = performed(expand("catch_up_with_clock", occasion(on=(), settings={"time_server": "@hub"})))
    assert act.settings["time_server"] == "10.77.0.2"


def test_what_varies_is_drawn_and_what_is_said_is_kept() -> None:
    drawn = [
        performed(
            expand("guess_telnet", replace(occasion(varies=True, settings={"tries": 7}), rng=random.Random(seed)))
        )
        for seed in range(8)
    ]
    assert {act.settings["tries"] for (act,) in drawn} == {7}
    assert len({act.settings["pause_s"] for (act,) in drawn}) == 8


def test_a_changed_address_is_free() -> None:
    planned = expand("address_change", occasion(by=("tv", "hub")))
    given = [item.action.address for item in planned if isinstance(item.action, PowerOn)]
    assert len(set(given)) == 2
    assert not set(given) & {one.address for one in HOSTS.values()}


def test_a_power_cut_takes_everything_that_is_there() -> None:
    planned = expand("power_cut", occasion(by=(), settings={"spread_s": 3.0}))
    assert {item.action.host for item in planned if isinstance(item.action, PowerOff)} == {"hub", "tv", "camera"}


def test_a_break_in_leads_from_the_password_to_the_bot() -> None:
    planned = expand("break_in", occasion())
    assert [(act.host, act.attack_class) for act in performed(planned)] == [
        ("tv", AttackClass.BRUTE_FORCE),
        ("tv", AttackClass.LATERAL),
        ("camera", AttackClass.DOWNLOAD),
        ("camera", AttackClass.C2),
    ]
    assert [item.at_s for item in planned] == sorted(item.at_s for item in planned)


def test_a_break_in_from_outside_is_not_lateral() -> None:
    acts = performed(expand("break_in", occasion(by=("internet",))))
    assert AttackClass.LATERAL not in {act.attack_class for act in acts}


def test_after_ssh_no_telnet_session_follows() -> None:
    acts = performed(expand("break_in", occasion(settings={"guess": "guess_ssh", "control": "c2_irc"})))
    assert [act.act for act in acts] == ["guess_ssh", "download", "c2_irc"]


def test_a_worm_hands_itself_on() -> None:
    planned = expand("worm", occasion(on=("camera", "hub")))
    assert [(act.host, act.attack_class) for act in performed(planned) if act.act == "spread"] == [
        ("tv", AttackClass.LATERAL),
        ("camera", AttackClass.LATERAL),
    ]
    assert [act.host for act in performed(planned) if act.act == "download"] == ["camera", "hub"]


def test_bots_that_flood_together_are_a_distributed_flood() -> None:
    acts = performed(expand("botnet_flood", occasion(by=("tv", "camera"), on=("shop.example",))))
    assert [(act.host, act.attack_class, act.technique) for act in acts] == [
        ("tv", AttackClass.DDOS, "T1498.001"),
        ("camera", AttackClass.DDOS, "T1498.001"),
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("earthquake", {}, ("earthquake", "isp_outage", "guess_telnet")),
        ("new_device", {"by": ("tv",)}, ("by", "tv", "joins")),
        ("cloud_outage", {"on": ()}, ("on", "nobody")),
        ("power_cut", {"settings": {"spread_s": -1.0}}, ("settings.spread_s", "-1.0")),
        ("guess_telnet", {"settings": {"tries": 0}}, ("settings.tries", "greater than or equal to")),
        ("guess_telnet", {"settings": {"colour": 1}}, ("settings.colour",)),
        ("guess_telnet", {"on": ("nobody",)}, ("nobody", "IPv4")),
    ],
)
def test_what_cannot_happen_is_refused_by_place_and_key(
    kind: str, changes: dict[str, object], named: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(kind, occasion(**changes))
    told = f"{caught.value} {caught.value.hint}"
    assert all(part in told for part in ("scenario test, events.0", *named)), told
