"""Carry out a schedule in simulated time: hosts live, acts are performed, parts fail, and flows come out.

In: a ``Schedule``, what hosts do, and what acts there are. Out: labelled ``FlowBatch``es, by the end of the flow.
Must never: depend on anything but its arguments: equal schedules give equal bytes.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks.hostile import expected_ports
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import GATEWAY_MAC, UPLINK, UPLINK6
from thingwarden.lab.simulated.broker import serve_mqtt
from thingwarden.lab.simulated.capture import BENIGN_LABEL, LabelBook, Meter, Rows
from thingwarden.lab.simulated.clock import Clock
from thingwarden.lab.simulated.leases import serve_leases
from thingwarden.lab.simulated.network import Host, Network, Place
from thingwarden.lab.simulated.process import LabelTo, Process, label_nothing
from thingwarden.lab.simulated.resolver import serve_names
from thingwarden.lab.simulated.tls import flight_bytes
from thingwarden.lab.simulated.tools import use_tool
from thingwarden.lab.simulated.udp import DatagramPlane
from thingwarden.lab.simulated.world import SimulatedWorld
from thingwarden.lab.timeline import Aim, Cut, Perform, Planned, PowerOff, PowerOn, Restore, Schedule
from thingwarden.lab.timeline import Host as PlannedHost
from thingwarden.lab.traits import Traits
from thingwarden.lab.truth import label_detail
from thingwarden.lab.world import Behaviour, Identity

BEGAN_ON: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The day on which every simulated scenario begins, at the hour that its schedule says."""

INTERNET: Final = "internet"
GATEWAY_NAME: Final = "gateway"
_UNRESOLVED: Final = ".invalid"
_DNS_PORT: Final = 53
_ACT_GRACE_S: Final = 2.0
_SETTLE_S: Final = 0.3
_POLL_S: Final = 0.1
_CHUNK_S: Final = 600.0


def simulate(
    schedule: Schedule,
    life: Behaviour,
    acts: Mapping[str, ActKind[Any]],
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[FlowBatch]:
    """Run a schedule to its end.

    Args:
        schedule: what happens.
        life: what every host does from its first second, going by the kind that it is.
        acts: by the names that the schedule uses.
        on_progress: told the seconds done, now and then.

    Yields:
        Flows with labels, by the end of the flow.
    """
    run = Simulation(schedule, life, acts)
    meter = Meter(run.labels, run.began_at_s)
    for rows in run.packets(on_progress):
        flows = meter.push(rows)
        if len(flows):
            yield flows
    last = meter.finish()
    if len(last):
        yield last


class Simulation:
    """One run of a schedule.

    Args:
        schedule, life, acts: as for ``simulate``.

    Attributes:
        labels: what the labels in the packets mean.
        began_at_s: Unix seconds of its beginning.
    """

    def __init__(self, schedule: Schedule, life: Behaviour, acts: Mapping[str, ActKind[Any]]) -> None:
        self.labels = LabelBook()
        self.began_at_s = BEGAN_ON.timestamp() + schedule.starts_at_hour * 3600.0
        self._schedule = schedule
        self._life = life
        self._acts = acts
        self._clock = Clock()
        self._network = Network(self._clock, schedule.condition, str(schedule.seed))
        self._plane = DatagramPlane(self._network)
        self._planned_hosts = {host.name: host for host in schedule.hosts}
        self._hosts: dict[str, Host] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._leases = {host.mac: host.address for host in schedule.hosts}
        self._build()

    def packets(self, on_progress: Callable[[float], None] | None = None) -> Iterator[Rows]:
        """The packets at the capture, in order, chunk by chunk; dtype ``capture.ROW``."""
        ends_s = self._schedule.duration_s
        try:
            while self._clock.now_s < ends_s:
                self._clock.run_until(min(self._clock.now_s + _CHUNK_S, ends_s))
                self._settle()
                if on_progress is not None:
                    on_progress(self._clock.now_s)
                rows = self._network.capture.take_until(self._clock.now_s)
                if len(rows):
                    yield rows
        finally:
            for host in dict.fromkeys(self._network.hosts.values()):
                self._power_off(host)

    def _settle(self) -> None:
        for host in dict.fromkeys(self._network.hosts.values()):
            for side in host.sides:
                side.settle(self._clock.now_s)

    def _build(self) -> None:
        network = self._network
        outside = network.add_host(INTERNET, Place.INTERNET, GATEWAY_MAC, (str(UPLINK[1]), str(UPLINK6[1])))
        for service in SERVICES.values():
            if not service.is_absent:
                self._hosts[service.name] = network.add_face(outside, service.name, (service.address, service.address6))
        self._hosts[INTERNET], self._hosts[GATEWAY_NAME] = outside, network.gateway
        for planned in self._schedule.hosts:
            self._hosts[planned.name] = network.add_host(planned.name, Place.LAN, planned.mac, _addresses(planned))
        self._names.update(_names(self._schedule.hosts, self._hosts))
        network.tls_flight_bytes = flight_bytes(
            [*SERVICES, "hub.lan", *(f"{host.name}.lan" for host in self._schedule.hosts)]
        )
        self._start_daemons()
        self._start_life(INTERNET)
        for planned in self._schedule.hosts:
            self._hosts[planned.name].is_up = not planned.joins
            if not planned.joins:
                self._start_life(planned.name)
        for index, item in enumerate(self._schedule.planned):
            self._clock.call_at(item.at_s, self._carry_out, (index, item))

    def _start_daemons(self) -> None:
        process = self._process(GATEWAY_NAME, is_native=True)
        world = SimulatedWorld(process, "daemons")
        process.run(serve_names(world, self._names), "resolver")
        process.run(serve_leases(world, self._leases), "leases")

    def _start_life(self, name: str, *, is_booting: bool = False) -> None:
        process = self._process(name, is_booting=is_booting)
        if process.me.kind == "hub":
            daemon = self._process(name, is_native=True)
            daemon.run(serve_mqtt(SimulatedWorld(daemon, "broker")), "broker")
        process.run(self._life(SimulatedWorld(process)), "main")

    def _process(
        self, name: str, *, is_booting: bool = False, is_native: bool = False, label_to: LabelTo = label_nothing
    ) -> Process:
        host = self._hosts[name]
        process = Process(
            network=self._network,
            plane=self._plane,
            host=host,
            me=self._identity(name, is_booting=is_booting),
            seed=str(self._schedule.seed),
            starts_at_hour=self._schedule.starts_at_hour,
            use_tool=use_tool,
            label_to=label_to,
            is_native=is_native,
        )
        host.processes[process] = None
        return process

    def _identity(self, name: str, *, is_booting: bool) -> Identity:
        planned = self._planned_hosts.get(name)
        addresses = self._hosts[name].addresses
        return Identity(
            name=name,
            kind=planned.kind if planned else name,
            mac=planned.mac if planned else "",
            address=addresses[0],
            address6=addresses[1] if len(addresses) > 1 else "",
            pace=planned.pace if planned else 1.0,
            traits=planned.traits if planned else Traits(seed=f"{self._schedule.seed}:{name}"),
            peers={
                host.name: self._hosts[host.name].addresses[0] for host in self._schedule.hosts if host.name != name
            },
            kinds={host.name: host.kind for host in self._schedule.hosts},
            peer_traits={host.name: host.traits for host in self._schedule.hosts},
            is_booting=is_booting,
            expects=expected_ports(self._schedule.planned) if name == INTERNET else (),
        )

    def _carry_out(self, what: tuple[int, Planned]) -> None:
        index, item = what
        match item.action:
            case Perform():
                self._perform(index, item, item.action)
            case Cut(target=target, mode=mode):
                self._cut(target, mode)
            case Restore(target=target):
                self._cut(target, "")
            case PowerOff(host=name):
                self._power_off(self._hosts[name])
            case PowerOn(host=name, address=address):
                self._power_on(name, address)

    def _perform(self, index: int, item: Planned, act: Perform) -> None:
        if not self._hosts[act.host].is_up:
            return
        kind = self._acts[act.act]
        settings = kind.settings.model_validate({"lasts_s": act.lasts_s, **act.settings})
        number = self.labels.add(act.attack_class, label_detail(item.event, act.attack_class))
        process = self._process(act.host, label_to=label_by_aims(number, act.aims))
        process.run(_perform(kind.run(SimulatedWorld(process, item.event), settings), process), f"act {index}")
        self._clock.call_at(item.at_s + settings.lasts_s + _ACT_GRACE_S, self._end, process)

    def _end(self, process: Process) -> None:
        process.kill()
        process.host.processes.pop(process, None)

    def _cut(self, target: str, mode: str) -> None:
        """Bring about, or, where ``mode`` is empty, undo a failure."""
        if target == "resolver":
            gateway = self._network.gateway
            gateway.silent_ports = {_DNS_PORT: None} if mode == "silent" else {}
            gateway.closed_ports = {_DNS_PORT: None} if mode == "refusing" else {}
            return
        for host in self._outside() if target == "uplink" else (self._hosts[target],):
            host.outward.is_cut = host.inward.is_cut = mode == "silent"
            host.refuses = mode == "refusing"

    def _outside(self) -> list[Host]:
        return [*dict.fromkeys(host for host in self._network.hosts.values() if host.place is Place.INTERNET)]

    def _power_off(self, host: Host) -> None:
        if not host.is_up:
            return
        host.is_up = False
        host.down_since_s = self._clock.now_s
        for side in list(host.sides):
            side.vanish()
        host.sides.clear()
        for process in list(host.processes):
            process.lose_power()
        host.processes.clear()
        self._network.chatter.forget(host)

    def _power_on(self, name: str, address: str) -> None:
        planned, host = self._planned_hosts[name], self._hosts[name]
        if host.is_up:
            return
        if address:
            self._network.move(host, (address, *_addresses(planned)[1:]))
            self._names.update(_names(self._schedule.hosts, self._hosts))
            self._leases[planned.mac] = address
        host.is_up = True
        self._start_life(name, is_booting=True)


async def _perform(act: Coroutine[Any, Any, None], process: Process) -> None:
    """Do an act, wait for what it has started, and end as its process does: what it left open is reset."""
    with contextlib.suppress(OSError):
        await act
    clock = process.network.clock
    while len(process.tasks) > 1:
        await clock.sleep(_POLL_S)
    await clock.sleep(_SETTLE_S)
    for side in list(process.sides):
        if not side.is_closed:
            side.abort()


def _addresses(planned: PlannedHost) -> tuple[str, ...]:
    return tuple(address for address in (planned.address, planned.address6) if address)


def _names(planned: Iterable[PlannedHost], hosts: Mapping[str, Host]) -> dict[str, tuple[str, ...]]:
    """What the resolver knows: the services of the internet, the hosts of the LAN, and where the hub is."""
    names: dict[str, tuple[str, ...]] = {
        service.name: (service.address, service.address6)
        for service in SERVICES.values()
        if not service.name.endswith(_UNRESOLVED)
    }
    names.update({f"{host.name}.lan": hosts[host.name].addresses for host in planned})
    hub = next((host.name for host in planned if host.kind == "hub"), "")
    return names | ({"hub.lan": hosts[hub].addresses} if hub else {})


def label_by_aims(number: int, aims: tuple[Aim, ...]) -> LabelTo:
    """The label of an act's packets: ``number`` where an aim says so, or, without aims, for all but DNS look-ups."""

    @lru_cache(maxsize=4096)
    def label_to(address: str, proto: int, port: int) -> int:
        if not aims:
            return BENIGN_LABEL if (proto, port) == (PROTO_UDP, _DNS_PORT) else number
        return number if any(is_aimed_at(aim, address, proto, port) for aim in aims) else BENIGN_LABEL

    return label_to


def is_aimed_at(aim: Aim, address: str, proto: int, port: int) -> bool:
    """Whether what goes to that address, protocol and port is part of an aim."""
    if aim.proto not in (0, proto):
        return False
    if aim.ports and proto in (PROTO_TCP, PROTO_UDP) and port not in aim.ports:
        return False
    peer = ipaddress.ip_network(aim.peer, strict=False)
    one = ipaddress.ip_address(address)
    return one.version == peer.version and one in peer
