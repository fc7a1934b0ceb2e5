"""Whatever is ordered, forged, restarted or done to the clocks: the enforcer's promises hold.

The network is a model whose acts end by the machine's uptime, as the kernel's do; everything else is the real thing.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enforcer_builder import KEY, ManualMachine, TimeoutEnforcer, build_warden
from thingwarden.domain.address import plain_address
from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.order import Order, OrderVerb, seal_order
from thingwarden.domain.response import Act, Decision, ReceiptStatus, Target
from thingwarden.enforce.guard import Bounds, GuardSettings, KnownHosts, restricted_device, restricted_peer
from thingwarden.enforce.warden import Channel, Warden
from thingwarden.testing import build_decision

EXAMPLES = int(os.environ.get("THINGWARDEN_EXAMPLES", "300"))
AUTOMATIC = Bounds(devices=2, peers=2, decisions_per_minute=5)
APPROVED = Bounds(devices=3, peers=3, decisions_per_minute=8)
ROUTER, RESOLVER = "192.168.1.1", "fd00::53"
OWN_MAC, CONFIGURED_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOSTS = KnownHosts(addresses=frozenset({ipaddress.ip_address(ROUTER)}), macs=frozenset({OWN_MAC}))
SETTINGS = GuardSettings(
    protected_networks=(ipaddress.ip_network("fd00::53/128"), ipaddress.ip_network("203.0.113.128/25")),
    protected_macs=frozenset({CONFIGURED_MAC}),
    automatic=AUTOMATIC,
    approved=APPROVED,
)
PROTECTED = {ipaddress.ip_address(text) for text in (ROUTER, RESOLVER, "203.0.113.200")}

addresses = st.sampled_from(
    ["192.168.1.10", "192.168.1.11", "192.168.1.12", "192.168.1.13", ROUTER, f"::ffff:{ROUTER}", RESOLVER]
)
peers = st.sampled_from(["203.0.113.5", "203.0.113.6", "203.0.113.7", "203.0.113.200", "2001:db8::7", RESOLVER])
macs = st.sampled_from([None, "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c", OWN_MAC, CONFIGURED_MAC])
devices = st.builds(Device, index=st.integers(1, 9), mac=macs, address=addresses.map(ipaddress.ip_address))
targets = st.builds(
    Target,
    device=st.one_of(st.none(), devices),
    peer=st.one_of(st.none(), peers.map(ipaddress.ip_address)),
    is_inbound=st.booleans(),
    packets_per_s=st.one_of(st.none(), st.just(10)),
)


def _sane(number: int) -> tuple[Act, Target]:
    """One of the orders that nothing speaks against, but for time and bounds."""
    device = Device(index=number, mac=f"02:00:00:00:01:{number:02x}", address=ipaddress.ip_address("192.168.1.50"))
    peer = ipaddress.ip_address(f"198.51.100.{number}")
    return (
        (Act.BLOCK_PEER, Target(peer=peer)),
        (Act.ISOLATE, Target(device=device)),
        (Act.BLOCK_FLOW, Target(device=device, peer=peer)),
        (Act.RATE_LIMIT, Target(device=device, peer=peer, is_inbound=True, packets_per_s=10)),
    )[number % 4]


sane = st.integers(1, 12).map(_sane)
persons = st.sampled_from([None, None, "ada"])


class EnforcerUnderAttack(RuleBasedStateMachine):
    """A core gone mad, an attacker without the key, an operator with a watch, and kill -9."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.machine = ManualMachine()
        self.enforcer = TimeoutEnforcer(self.machine)
        self.given: list[Decision] = []
        self.sealed: list[bytes] = []
        self.first_held_at_boot_s: dict[str, float] = {}
        self.ordered: list[tuple[float, bool]] = []
        self.number = 0
        self._begin()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.warden.close()
            shutil.rmtree(self.folder)

    def _begin(self) -> None:
        self.warden: Warden = build_warden(
            self.enforcer, self.folder, machine=self.machine, settings=SETTINGS, hosts=HOSTS
        )
        self.channel: Channel = self.warden.open_channel()

    @rule(
        plans=st.lists(sane, min_size=1, max_size=6), lifetime_s=st.sampled_from([20.0, 90.0, 3600.0]), person=persons
    )
    def order(self, plans: list[tuple[Act, Target]], lifetime_s: float, person: str | None) -> None:
        """The core orders what is sane, though perhaps too much of it."""
        for act, about in plans:
            self._order(act, about, 0.0, lifetime_s, person, None)

    @rule(
        act=st.sampled_from(Act),
        about=targets,
        age_s=st.sampled_from([0.0, 5.0, -0.5, -30.0, 4000.0]),
        lifetime_s=st.sampled_from([20.0, 90.0, 3600.0, 604_800.0, 604_801.0, 10.0**9]),
        person=persons,
    )
    def order_madly(self, act: Act, about: Target, age_s: float, lifetime_s: float, person: str | None) -> None:
        """The core orders anything."""
        self._order(act, about, age_s, lifetime_s, person, None)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), plan=sane, person=persons)
    def order_successor(self, data: st.DataObject, plan: tuple[Act, Target], person: str | None) -> None:
        """The core lets a decision take another one's place."""
        self._order(*plan, 0.0, 90.0, person, data.draw(st.sampled_from(self.given)).decision_id)

    def _order(
        self, act: Act, about: Target, age_s: float, lifetime_s: float, person: str | None, replaces: str | None
    ) -> None:
        self.number += 1
        decided_at = datetime.fromtimestamp(self.machine.wall_s - age_s, UTC)
        decision = build_decision(
            decision_id=f"{self.number:012x}",
            act=act,
            target=about,
            decided_at=decided_at,
            expires_at=decided_at + timedelta(seconds=lifetime_s),
            approved_by=person,
            replaces=replaces,
        )
        self.given.append(decision)
        self._give(OrderVerb.APPLY, decision)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), verb=st.sampled_from([OrderVerb.APPLY, OrderVerb.REVOKE]))
    def order_again(self, data: st.DataObject, verb: OrderVerb) -> None:
        """The core applies or revokes something that it ordered before, also long ago."""
        self._give(verb, data.draw(st.sampled_from(self.given)))

    @precondition(lambda self: self.given)
    @rule(data=st.data(), change=st.sampled_from(["target", "life", "person"]))
    def order_changed(self, data: st.DataObject, change: str) -> None:
        """The core gives a known id to something else."""
        decision = data.draw(st.sampled_from(self.given))
        changes = {
            "target": {"target": data.draw(targets)},
            "life": {"expires_at": decision.expires_at + timedelta(seconds=500)},
            "person": {"approved_by": "eve"},
        }
        self._give(OrderVerb.APPLY, replace(decision, **changes[change]))

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Somebody who listened sends a sealed order again, on whatever channel is open."""
        if self.sealed:
            self._expect_refused(data.draw(st.sampled_from(self.sealed)))

    @rule(decision=st.builds(lambda target: build_decision(target=target), targets), noise=st.binary(max_size=40))
    def forge(self, decision: Decision, noise: bytes) -> None:
        """Somebody without the key makes orders up, and noise."""
        order = Order(
            verb=OrderVerb.APPLY, decision=decision, challenge=self.channel.challenge, number=self.channel.number + 1
        )
        self._expect_refused(seal_order(order, b"\0" * 32))
        self._expect_refused(noise)

    @rule(seconds=st.sampled_from([0.5, 10.0, 61.0, 1000.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by, and the process notices."""
        self.machine.run(seconds)
        self.warden.tick()

    @rule(seconds=st.sampled_from([-86_400.0, -3000.0, -50.0, 50.0, 3000.0]))
    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.machine.wall_s += seconds

    @precondition(lambda self: self.given)
    @rule(data=st.data(), is_killed=st.booleans())
    def turn_back_and_order_again(self, data: st.DataObject, is_killed: bool) -> None:
        """Half a life goes by, somebody turns the clock back, and the core orders the same again."""
        decision = data.draw(st.sampled_from(self.given))
        half_s = min((decision.expires_at - decision.decided_at).total_seconds(), 4000.0) * 0.6
        self.machine.run(half_s)
        if is_killed:
            self.kill()
        self.machine.wall_s -= half_s
        self._give(OrderVerb.APPLY, decision)

    @rule()
    def kill(self) -> None:
        """The process is killed and started again; the network keeps what it holds."""
        self.warden.close()
        self._begin()

    @rule()
    def release(self) -> None:
        """Panic."""
        self.warden.release_all()
        assert not self.enforcer.held()

    def _give(self, verb: OrderVerb, decision: Decision) -> None:
        order = Order(verb=verb, decision=decision, challenge=self.channel.challenge, number=self.channel.number + 1)
        sealed = seal_order(order, KEY)
        self.sealed = [*self.sealed[-10:], sealed]
        before = {item.decision_id for item in self.enforcer.held()}
        try:
            (receipt,) = self.warden.handle(self.channel, sealed)
        except RequestError:
            return
        if verb is OrderVerb.APPLY and receipt.status is ReceiptStatus.APPLIED and decision.act is not Act.NOTIFY:
            if decision.decision_id not in before:
                self.ordered.append((self.machine.boot_s, decision.approved_by is not None))
            self.first_held_at_boot_s.setdefault(decision.decision_id, self.machine.boot_s)

    def _expect_refused(self, sealed: bytes) -> None:
        before = dict(self.enforcer.decisions)
        try:
            self.warden.handle(self.channel, sealed)
        except RequestError:
            assert self.enforcer.decisions == before
        else:
            raise AssertionError("carried out")

    @invariant()
    def no_protected_host_is_touched(self) -> None:
        for decision in getattr(self, "enforcer", TimeoutEnforcer(ManualMachine())).held():
            device, peer = decision.target.device, decision.target.peer
            if decision.act is Act.NOTIFY:
                continue
            named = {plain_address(item) for item in (device and device.address, peer) if item is not None}
            assert not named & PROTECTED
            assert device is None or device.mac not in (OWN_MAC, CONFIGURED_MAC)

    @invariant()
    def nothing_outlives_its_time(self) -> None:
        if not hasattr(self, "machine"):
            return
        for decision in self.enforcer.held():
            if decision.decision_id in self.first_held_at_boot_s:
                held_s = self.machine.boot_s - self.first_held_at_boot_s[decision.decision_id]
                # An order may be a second younger than the guard's time.
                assert held_s <= (decision.expires_at - decision.decided_at).total_seconds() + 1.0

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "machine"):
            return
        for bounds, is_approved in ((AUTOMATIC, False), (APPROVED, True)):
            held = [item for item in self.enforcer.held() if (item.approved_by is not None) is is_approved]
            assert len({restricted_device(item) for item in held} - {None}) <= bounds.devices
            assert len({restricted_peer(item) for item in held} - {None}) <= bounds.peers
            recent = [
                at_boot_s
                for at_boot_s, was_approved in self.ordered
                if was_approved is is_approved and at_boot_s > self.machine.boot_s - 60.0
            ]
            assert len(recent) <= bounds.decisions_per_minute


EnforcerUnderAttack.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEnforcerUnderAttack = EnforcerUnderAttack.TestCase
