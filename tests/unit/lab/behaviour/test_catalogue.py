"""Every kind of device lives, speaks to whom it says, comes back after failures, and boots."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from play_builder import build_hosts, contacts, run_hosts, spoken
from thingwarden.domain.flow import FlowBatch
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES
from thingwarden.lab.behaviour.services import OFFERED
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import GATEWAY, GATEWAY6
from thingwarden.lab.timeline import Cut, Host, Planned, PowerOff, PowerOn, Restore

KINDS = [kind for kind in DEVICES if kind not in ("gateway", "internet")]
DAY_S = 86_400.0
GROUPS = ("224.0.0.251", "239.255.255.250", "255.255.255.255", "ff02::fb")
DAEMONS = {53, 67, 68, 5353, 1900}


def _slow(hosts: tuple[Host, ...], pace: float) -> tuple[Host, ...]:
    return tuple(replace(host, pace=pace) for host in hosts)


def _is(column: npt.NDArray[np.uint64], address: str) -> npt.NDArray[np.bool_]:
    parsed = ipaddress.ip_address(address)
    number = int(parsed) | (0xFFFF << 32 if parsed.version == 4 else 0)
    low, high = np.uint64(number & (2**64 - 1)), np.uint64(number >> 64)
    found: npt.NDArray[np.bool_] = (column[:, 1] == low) & (column[:, 0] == high)
    return found


def _begun_by(flows: FlowBatch, host: Host) -> FlowBatch:
    return flows.take(np.flatnonzero(_is(flows.orig_address, host.address) | _is(flows.orig_address, host.address6)))


@pytest.fixture(scope="module")
def day() -> tuple[tuple[Host, ...], FlowBatch]:
    """A network of every kind over a slow day, each of the usual maker."""
    hosts = _slow(build_hosts(KINDS), 0.025)
    return hosts, spoken(run_hosts(hosts, duration_s=DAY_S, starts_at_hour=0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_kind_lives_through_a_day_and_speaks_to_nobody_it_does_not_name(
    kind: str, day: tuple[tuple[Host, ...], FlowBatch]
) -> None:
    hosts, flows = day
    begun = _begun_by(flows, next(host for host in hosts if host.kind == kind))
    assert len(begun) > 10
    assert begun.ended_at_s.max() - flows.started_at_s.min() > 0.8 * DAY_S
    known = np.zeros(len(begun), dtype=np.bool_)
    services = {name for site in DEVICES[kind].sites.values() for name in site.services}
    for name in services:
        known |= _is(begun.resp_address, SERVICES[name].address) | _is(begun.resp_address, SERVICES[name].address6)
    for address in (*GROUPS, str(GATEWAY), str(GATEWAY6), *(host.address for host in hosts)):
        known |= _is(begun.resp_address, address)
    assert known.all()


@pytest.mark.parametrize(
    ("kind", "proto", "port", "service"),
    [
        ("sensor", 6, 1883, "mqtt"), ("door", 6, 1883, "mqtt"), ("thermostat", 6, 80, "http"), ("plug", 6, 443, "ssl"),
        ("bulb", 6, 443, "ssl"), ("camera", 6, 554, "http"), ("camera", 6, 80, "http"), ("doorbell", 17, 3478, ""),
        ("hub", 17, 5683, ""), ("hub", 6, 9999, ""), ("hub", 17, 1900, ""), ("tv", 6, 443, "ssl"),
        ("hmi", 6, 502, "modbus"),
        ("phone", 6, 993, "ssl"), ("phone", 17, 443, ""), ("phone", 6, 554, "http"), ("phone", 6, 1883, "mqtt"),
        ("phone", 6, 23, ""), ("monitor", 6, 2575, ""), ("coap-sensor", 17, 5683, ""), ("hmi", 6, 8086, "http"),
        ("voice-assistant", 6, 443, "ssl"), ("printer", 17, 5353, "dns"), ("monitor", 17, 123, "ntp"),
    ],
)  # fmt: skip
def test_kind_speaks_its_protocols(
    kind: str, proto: int, port: int, service: str, day: tuple[tuple[Host, ...], FlowBatch]
) -> None:
    hosts, flows = day
    begun = _begun_by(flows, next(host for host in hosts if host.kind == kind))
    assert (proto, port, service) in {(seen[0], seen[1], seen[3]) for seen in contacts(begun)}


def test_descriptions_name_whom_and_what() -> None:
    for kind in KINDS:
        assert DEVICES[kind].about.endswith(".")
        assert DEVICES[kind].talks_to
        for site in DEVICES[kind].sites.values():
            assert set(site.services) <= set(OFFERED)
    assert ACTS


@pytest.mark.parametrize("mode", ["silent", "refusing"])
@pytest.mark.parametrize(("kind", "target", "port"), [("plug", "uplink", 443), ("door", "hub-1", 1883)])
def test_device_comes_back_after_an_outage(kind: str, target: str, port: int, mode: str) -> None:
    hosts = build_hosts([kind, "hub"])
    assert mode in ("silent", "refusing")
    planned = [
        Planned(
            at_s=600.0, event="outage", action=Cut(target=target, mode="silent" if mode == "silent" else "refusing")
        ),
        Planned(at_s=1200.0, event="outage", action=Restore(target=target)),
    ]
    flows = run_hosts(hosts, duration_s=2400.0, planned=planned)
    begun = _begun_by(flows, hosts[0])
    at_s = begun.started_at_s - flows.started_at_s.min()
    fine = np.array([contact[1:3] == (port, "SF") for contact in contacts(begun)])
    assert (fine & (at_s < 590.0)).any()
    assert not (fine & (at_s > 660.0) & (at_s < 1190.0)).any()
    assert (fine & (at_s > 1200.0) & (at_s < 1500.0)).any()


def test_broken_session_is_opened_anew() -> None:
    hosts = build_hosts(["sensor", "hub"])
    planned = [
        Planned(at_s=300.0, event="power", action=PowerOff(host="hub-1")),
        Planned(at_s=400.0, event="power", action=PowerOn(host="hub-1")),
    ]
    flows = run_hosts(hosts, duration_s=900.0, planned=planned)
    begun = _begun_by(flows, hosts[0])
    sessions = begun.take(np.flatnonzero((begun.resp_port == 1883) & (begun.resp_bytes > 0)))
    assert len(sessions) >= 2
    assert sessions.started_at_s.max() - flows.started_at_s.min() > 400.0


def test_booting_device_asks_for_its_address_then_for_the_time_and_its_cloud() -> None:
    hosts = build_hosts(["plug", "hub"])
    planned = [
        Planned(at_s=100.0, event="power", action=PowerOff(host="plug-0")),
        Planned(at_s=160.0, event="power", action=PowerOn(host="plug-0")),
    ]
    flows = spoken(run_hosts(hosts, duration_s=300.0, planned=planned))
    begun = _begun_by(flows, hosts[0])
    leases = flows.take(np.flatnonzero(flows.resp_port == 67))  # from no address yet
    assert len(leases) == 1
    after_s = begun.started_at_s - leases.started_at_s[0]
    assert {53, 123, 443} <= set(begun.resp_port[(after_s > 0.0) & (after_s < 5.0)].tolist())
    assert not ((after_s > -55.0) & (after_s < 0.0)).any()


def test_equal_seeds_give_equal_flows_and_other_seeds_other_ports() -> None:
    kinds = ["plug", "camera", "invented", "hub"]
    runs = [run_hosts(build_hosts(kinds, seed=seed, breadth=1.0), duration_s=900.0, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0].started_at_s, runs[1].started_at_s)
    assert np.array_equal(runs[0].orig_bytes, runs[1].orig_bytes)
    ports = [set(run.resp_port.tolist()) - DAEMONS for run in runs]
    assert ports[0] == ports[1] != ports[2]
