"""The firewall for real: acts in a gateway's kernel, with traffic from both sides of it, in namespaces made for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from network_builder import ADDRESSES, MACS, SmallNetwork, answers, run, small_network
from thingwarden.domain.device import Device
from thingwarden.domain.response import Act, Decision, Reach, ReceiptStatus, Target
from thingwarden.enforce.nftables import NftablesEnforcer
from thingwarden.testing import build_decision

pytestmark = pytest.mark.root

CAMERA = Device(index=1, mac=MACS["camera"], address=ip_address(ADDRESSES["camera"][0]))
VERSIONS = pytest.mark.parametrize("version", [4, 6])
BY_MAC_OR_ADDRESS = pytest.mark.parametrize("has_mac", [True, False])


@pytest.fixture(scope="module")
def made() -> Iterator[SmallNetwork]:
    with small_network() as network:
        yield network


@pytest.fixture
def network(made: SmallNetwork) -> Iterator[SmallNetwork]:
    yield made
    run("nft", "flush", "ruleset")


@pytest.fixture
def enforcer(network: SmallNetwork) -> NftablesEnforcer:
    return NftablesEnforcer(spared=[ip_network(address) for address in ADDRESSES["other"]])


def order(act: Act, number: int = 1, lasts_s: float = 60.0, **target: Any) -> Decision:
    now = datetime.now(UTC)
    return build_decision(
        decision_id=f"{number:012x}",
        act=act,
        target=Target(**target),
        decided_at=now,
        expires_at=now + timedelta(seconds=lasts_s),
    )


def apply(enforcer: NftablesEnforcer, decision: Decision) -> None:
    receipt = enforcer.apply(decision, datetime.now(UTC))
    assert receipt.status is ReceiptStatus.APPLIED, receipt.detail


def camera(version: int, has_mac: bool = True) -> Device:
    return Device(index=1, mac=CAMERA.mac if has_mac else None, address=ip_address(ADDRESSES["camera"][version == 6]))


def peer(version: int, name: str = "outside") -> Any:
    return ip_address(ADDRESSES[name][version == 6])


def reached(network: SmallNetwork, version: int) -> set[str]:
    """What still gets through of a fixed choice of conversations."""
    tries = {
        "camera outside 6667": ("camera", "outside", 6667, "tcp"),
        "camera outside 6667 udp": ("camera", "outside", 6667, "udp"),
        "camera outside 8080": ("camera", "outside", 8080, "tcp"),
        "camera other": ("camera", "other", 6667, "tcp"),
        "lamp outside": ("lamp", "outside", 6667, "tcp"),
    }
    return {
        name for name, (device, to, port, proto) in tries.items() if network.probe(device, to, port, proto, version)
    }


EVERYTHING = {"camera outside 6667", "camera outside 6667 udp", "camera outside 8080", "camera other", "lamp outside"}


@VERSIONS
@BY_MAC_OR_ADDRESS
@pytest.mark.parametrize(
    ("act", "target", "cut"),
    [
        (Act.BLOCK_FLOW, {"proto": "tcp", "port": 6667}, {"camera outside 6667"}),
        (Act.BLOCK_FLOW, {"proto": "tcp"}, {"camera outside 6667", "camera outside 8080"}),
        (Act.BLOCK_FLOW, {}, {"camera outside 6667", "camera outside 6667 udp", "camera outside 8080"}),
        (Act.QUARANTINE, None, {"camera outside 6667", "camera outside 6667 udp", "camera outside 8080"}),
        (Act.ISOLATE, None, EVERYTHING - {"lamp outside"}),
    ],
)
def test_an_act_cuts_what_it_names_and_nothing_else(
    network: SmallNetwork,
    enforcer: NftablesEnforcer,
    act: Act,
    target: dict[str, Any] | None,
    cut: set[str],
    version: int,
    has_mac: bool,
) -> None:
    named = {} if target is None else {"peer": peer(version), **target}
    decision = order(act, device=camera(version, has_mac), **named)
    apply(enforcer, decision)
    assert reached(network, version) == EVERYTHING - cut
    (held,) = enforcer.in_force(datetime.now(UTC))
    assert held.decision_id == decision.decision_id
    assert held.packet_count is not None and held.packet_count > 0
    undone = enforcer.revoke(decision, datetime.now(UTC))
    assert undone.status is ReceiptStatus.REVOKED and undone.packet_count == held.packet_count
    assert reached(network, version) == EVERYTHING


@VERSIONS
def test_a_blocked_peer_is_out_of_reach_for_every_device(
    network: SmallNetwork, enforcer: NftablesEnforcer, version: int
) -> None:
    apply(enforcer, order(Act.BLOCK_PEER, peer=peer(version)))
    assert reached(network, version) == {"camera other"}


@VERSIONS
@pytest.mark.parametrize("is_inbound", [False, True])
def test_a_rate_limit_lets_so_many_packets_through(
    network: SmallNetwork, enforcer: NftablesEnforcer, version: int, is_inbound: bool
) -> None:
    named = {"peer": peer(version)} if is_inbound else {"proto": "udp", "port": 6667}
    apply(enforcer, order(Act.RATE_LIMIT, device=camera(version), is_inbound=is_inbound, packets_per_s=2, **named))
    with network.talk("camera", "outside", proto="udp", version=version) as talk:
        assert talk is not None
        began_s = time.monotonic()
        for _ in range(200):
            talk.send(b"frame")
        talk.settimeout(0.2)
        count = 0
        while answers_one(talk):
            count += 1
        spent_s = time.monotonic() - began_s
    assert 1 <= count <= 6 + 2 * spent_s
    assert network.probe("lamp", "outside", version=version)
    (held,) = enforcer.in_force(datetime.now(UTC))
    assert held.packet_count is not None and held.packet_count >= 200 - count - 2


def answers_one(talk: Any) -> bool:
    try:
        return bool(talk.recv(2000))
    except TimeoutError:
        return False


@VERSIONS
def test_a_connection_that_is_open_is_cut(network: SmallNetwork, enforcer: NftablesEnforcer, version: int) -> None:
    """Open for 2 s, or as long as THINGWARDEN_OPEN_S says; the kernel knows no difference."""
    with network.talk("camera", "outside", 6667, "tcp", version) as talk:
        assert talk is not None
        until_s = time.monotonic() + float(os.environ.get("THINGWARDEN_OPEN_S", "2"))
        while time.monotonic() < until_s:
            assert answers(talk)
            time.sleep(0.1)
        apply(enforcer, order(Act.BLOCK_FLOW, device=camera(version), peer=peer(version), proto="tcp", port=6667))
        assert not answers(talk)
        assert not answers(talk)


def test_10_0_0_1_and_10_0_0_17_are_revoked_apart(network: SmallNetwork, enforcer: NftablesEnforcer) -> None:
    first = order(Act.BLOCK_PEER, 1, peer=ip_address("10.0.0.1"))
    second = order(Act.BLOCK_PEER, 2, peer=ip_address("10.0.0.17"))
    for decision in (first, second):
        apply(enforcer, decision)
    assert not network.probe("camera", "outside") and not network.probe("camera", "other")
    enforcer.revoke(first, datetime.now(UTC))
    assert network.probe("camera", "outside") and not network.probe("camera", "other")


def test_who_restricts_the_same_packets_is_told_apart(network: SmallNetwork, enforcer: NftablesEnforcer) -> None:
    first, second = (order(Act.BLOCK_PEER, number, peer=peer(4)) for number in (1, 2))
    for decision in (first, second):
        apply(enforcer, decision)
    enforcer.revoke(first, datetime.now(UTC))
    assert [item.decision_id for item in enforcer.in_force(datetime.now(UTC))] == [second.decision_id]
    assert not network.probe("camera", "outside")


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from thingwarden.domain.response import Act, Target
from thingwarden.enforce.nftables import NftablesEnforcer
from thingwarden.testing import build_decision
now = datetime.now(UTC)
ends = now + timedelta(seconds=float(sys.argv[1]))
decision = build_decision(
    decision_id="00000000000a", act=Act.BLOCK_PEER, target=Target(peer=ip_address("10.0.0.1")), decided_at=now,
    expires_at=ends)
assert NftablesEnforcer().apply(decision, now).status.value == "applied"
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_after_applying(lasts_s: float) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(lasts_s)], check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL


def test_after_kill_9_the_kernel_ends_it_alone(network: SmallNetwork) -> None:
    killed_after_applying(1.5)
    assert not network.probe("camera", "outside")
    time.sleep(1.6)
    assert network.probe("camera", "outside")


def test_a_new_process_takes_over_what_it_finds(network: SmallNetwork, enforcer: NftablesEnforcer) -> None:
    killed_after_applying(60)
    (held,) = enforcer.in_force(datetime.now(UTC))
    assert held.decision_id == "00000000000a"
    apply(enforcer, order(Act.BLOCK_PEER, 2, peer=peer(4, "other")))
    assert not network.probe("camera", "outside")
    enforcer.revoke(build_decision(decision_id="00000000000a"), datetime.now(UTC))
    assert network.probe("camera", "outside") and not network.probe("camera", "other")


def test_a_longer_life_takes_the_place_of_a_shorter_one(network: SmallNetwork, enforcer: NftablesEnforcer) -> None:
    first = order(Act.BLOCK_PEER, 1, lasts_s=0.8, peer=peer(4))
    apply(enforcer, first)
    longer = order(Act.BLOCK_PEER, 2, peer=peer(4))
    apply(enforcer, build_decision(**{**_fields(longer), "replaces": first.decision_id}))
    time.sleep(1.0)
    assert not network.probe("camera", "outside")
    assert [item.decision_id for item in enforcer.in_force(datetime.now(UTC))] == [longer.decision_id]


def _fields(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in ("decision_id", "act", "target", "decided_at", "expires_at")}


@pytest.mark.parametrize("command", [("flush", "ruleset"), ("delete", "table", "inet", "thingwarden")])
@pytest.mark.parametrize("is_polled", [True, False])
def test_what_others_remove_is_restored_and_said(
    network: SmallNetwork, enforcer: NftablesEnforcer, command: tuple[str, ...], is_polled: bool
) -> None:
    apply(enforcer, order(Act.BLOCK_PEER, 1, peer=peer(4)))
    run("nft", *command)
    assert network.probe("camera", "outside")
    if is_polled:
        (held,) = enforcer.in_force(datetime.now(UTC))
        assert "somebody had removed" in held.detail
    else:
        receipt = enforcer.apply(order(Act.BLOCK_PEER, 2, peer=peer(4, "other")), datetime.now(UTC))
        assert receipt.status is ReceiptStatus.APPLIED and "1 acts put back" in receipt.detail
    assert not network.probe("camera", "outside")


def test_other_tables_stay_as_they_are(network: SmallNetwork, enforcer: NftablesEnforcer) -> None:
    run("nft", "add", "table", "inet", "filter")
    run("nft", "add", "chain", "inet", "filter", "forward", "{ type filter hook forward priority 0; policy accept; }")
    before = run("nft", "list", "table", "inet", "filter")
    decision = order(Act.ISOLATE, device=CAMERA)
    apply(enforcer, decision)
    enforcer.release_all(datetime.now(UTC))
    assert run("nft", "list", "ruleset") == before
    assert network.probe("camera", "outside")


def test_a_bridge_cuts_what_is_only_bridged(network: SmallNetwork) -> None:
    enforcer = NftablesEnforcer(Reach.BRIDGE)
    apply(enforcer, order(Act.ISOLATE, device=CAMERA))
    assert reached(network, 4) == {"lamp outside"}
    enforcer.release_all(datetime.now(UTC))
    assert reached(network, 4) == EVERYTHING


def test_from_a_mirror_nothing_can_be_cut_and_the_receipt_says_so(network: SmallNetwork) -> None:
    receipt = NftablesEnforcer(Reach.MIRROR).apply(order(Act.ISOLATE, device=CAMERA), datetime.now(UTC))
    assert receipt.status is ReceiptStatus.FAILED
    assert "mirror port" in receipt.detail
    assert network.probe("camera", "outside")
