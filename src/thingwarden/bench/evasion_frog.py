"""The boiling frog: attacks that grow so slowly that a habit may follow, and controllers that are visited beforehand.

In: labelled networks, whose hosts lend their harmless days and whose attacks lend their flows. Out: ``FrogStream``s.
Must never: take the harmless days and the attack from one network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.evasion_rows import LanHosts, Rng, Rows, answered_mask, attack_mask, campaigns, class_mask
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.address import is_unicast, is_v4
from thingwarden.encode.sentence import local_ends
from thingwarden.train.corpus import mask_labels
from thingwarden.train.graft import Life, graft
from thingwarden.train.weighting import require_labels

HOUR_S: Final = 3600.0
HISTORY_H: Final = 100.0
"""Harmless hours of each stream before the attack has its full pace: the same for slow and for sudden ones."""

FIRST_PACE_PER_H: Final = 1.0
FULL_PACE_PER_H: Final = 120.0
FULL_CONTACTS: Final = 120
"""An hour at full pace: what recall is measured on."""

AT_ONCE: Final = 0.0
GROWTHS_PER_H: Final = (AT_ONCE, 8.0, 2.0, 1.5, 1.2, 1.05)
"""Factors by which the pace rises in an hour, from sudden to slow."""

WARM_UPS_H: Final = (0.0, 1.0, 6.0, 24.0, 96.0)
WARM_UP_INTERVAL_S: Final = 600.0

KINDS: Final = {AttackClass.SCAN: 30, AttackClass.BRUTE_FORCE: 15, AttackClass.C2: 8}
"""Attacks that can grow, and from how many contacts on one of them will do."""

LEAST_HABITS: Final = 20
BUSIEST_PER_H: Final = 40.0
"""A host that says more is thinned to this: what is asked is whether the habit follows, not whether it drowns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrogStream:
    """One host's days with one attack that grows.

    Attributes:
        name: of host and attack.
        flows: labelled; visits before the attack have the label -1.
        full_from_s: Unix seconds at which the attack has its full pace.
    """

    name: str
    flows: FlowBatch
    full_from_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A host and an attack that it has not lived through.

    Attributes:
        host: its harmless flows over ``HISTORY_H`` and the hour at full pace.
        attack: flows of one attacker, in time order.
        is_search: whether the attack goes to ever new addresses.
    """

    host: Life
    attack: Life
    is_search: bool


def cast_frogs(networks: Sequence[tuple[str, FlowBatch]], kind: AttackClass, count: int, seed: int) -> list[Cast]:
    """Up to ``count`` pairs of a host and an attack of another network; fewer where the networks hold fewer.

    Args:
        networks: name and labelled flows of each.
        kind: one of ``KINDS``.
        count: how many.
        seed: decides who meets which attack.
    """
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    hosts = [life for name, flows in networks for life in _find_hosts(name, flows)]
    attacks = [life for name, flows in networks for life in _find_attacks(name, flows, kind)]
    if not hosts or not attacks:
        return []
    pairs: list[Cast] = []
    for host in (hosts[number] for number in rng.permutation(len(hosts))):
        others = [attack for attack in attacks if attack.name.split("/")[0] != host.name.split("/")[0]]
        if others and len(pairs) < count:
            attack = others[int(rng.integers(len(others)))]
            pairs.append(Cast(host=_prolong(host, rng), attack=attack, is_search=kind is AttackClass.SCAN))
    return pairs


def _find_hosts(name: str, flows: FlowBatch) -> Iterator[Life]:
    """The host of a network with most harmless flows."""
    hosts, is_harmless = LanHosts.of(flows), require_labels(flows).malicious == 0
    lives = []
    for number in np.flatnonzero(is_v4(hosts.address)):
        owner = hosts.address[number]
        is_own = (flows.orig_address == owner).all(axis=1) | (flows.resp_address == owner).all(axis=1)
        own = flows.take(is_own & is_harmless)
        lives.append(Life(name=f"{name}/host", flows=own, owner=owner, mac=hosts.mac[number]))
    busiest = max(lives, key=len, default=None)
    if busiest is not None and len(busiest) >= LEAST_HABITS:
        yield busiest


def _find_attacks(name: str, flows: FlowBatch, kind: AttackClass) -> Iterator[Life]:
    """Attacks of the kind by one host of the network, long enough to grow."""
    among = class_mask(flows, (kind,)) & local_ends(flows)[:, 0] & is_v4(flows.orig_address)
    for rows in campaigns(flows, among & LanHosts.of(flows).begins(flows), by_host=True):
        if len(rows) >= KINDS[kind]:
            detail = require_labels(flows).detail[rows[0]].decode("latin-1")
            owner, mac = flows.orig_address[rows[0]], flows.orig_mac[rows[0]]
            yield Life(name=f"{name}/{detail}", flows=flows.take(rows), owner=owner, mac=mac)


def _prolong(host: Life, rng: Rng) -> Life:
    """The host's harmless time again and again until the stream is filled."""
    total_s = (HISTORY_H + FULL_CONTACTS / FULL_PACE_PER_H) * HOUR_S
    flows = host.flows
    began_s = float(flows.started_at_s.min())
    span_s = float(np.ptp(flows.started_at_s)) * (1.0 + 1.0 / len(flows))
    share = min(1.0, BUSIEST_PER_H * span_s / HOUR_S / len(flows))
    flows = flows.take(np.sort(rng.permutation(len(flows))[: max(1, int(share * len(flows)))]))
    turns = [
        replace(flows, started_at_s=flows.started_at_s + turn * span_s) for turn in range(int(total_s / span_s) + 1)
    ]
    whole = FlowBatch.concatenate(turns)
    return replace(host, flows=whole.take(whole.started_at_s - began_s <= total_s))


def ramp_s(growth_per_h: float) -> npt.NDArray[np.float64]:
    """Seconds, from 0, of an attack's contacts until it has its full pace, that moment included at the end.

    Args:
        growth_per_h: above 1, factor by which the pace rises in an hour; ``AT_ONCE`` has no ramp.
    """
    if growth_per_h == AT_ONCE:
        return np.zeros(1)
    rate = np.log(growth_per_h)
    contacts = np.arange(int((FULL_PACE_PER_H - FIRST_PACE_PER_H) / rate))
    hours = np.append(np.log1p(contacts * rate / FIRST_PACE_PER_H), np.log(FULL_PACE_PER_H / FIRST_PACE_PER_H)) / rate
    return np.asarray(hours * HOUR_S, dtype=np.float64)


def grow_attack(cast: Cast, growth_per_h: float) -> FrogStream:
    """The host's days with the attack rising to its full pace, which it keeps for ``FULL_CONTACTS`` contacts."""
    rising_s = ramp_s(growth_per_h)
    full_s = rising_s[-1] + np.arange(FULL_CONTACTS) * HOUR_S / FULL_PACE_PER_H
    full_from_s = float(cast.host.flows.started_at_s.min()) + HISTORY_H * HOUR_S
    attack = _repeat(cast, np.append(rising_s[:-1], full_s))
    flows = graft(cast.host, attack, full_from_s - rising_s[-1])
    return FrogStream(name=f"{cast.host.name} {cast.attack.name}", flows=flows, full_from_s=full_from_s)


def _repeat(cast: Cast, at_s: npt.NDArray[np.float64]) -> Life:
    """The attack's flows in turn at the instants ``at_s``; a search goes on to further addresses in each round."""
    turn, row = np.divmod(np.arange(len(at_s)), len(cast.attack))
    flows = cast.attack.flows.take(row)
    address = flows.resp_address.copy()
    if cast.is_search:
        address[:, 1] += np.where(local_ends(flows)[:, 1], 0, turn << 8).astype(np.uint64)
    return replace(cast.attack, flows=replace(flows, started_at_s=at_s, resp_address=address))


def warm_up(cast: Cast, hours: float, seed: int) -> FrogStream:
    """The host's days with the attack at full pace, after ``hours`` of visits to its responder.

    A visit looks like one of the host's answered flows, if possible over the attack's protocol, but goes to the address
    and the port of the attack's first contact.
    """
    stream = grow_attack(cast, AT_ONCE)
    first = int(np.flatnonzero(attack_mask(stream.flows))[0])
    habits = _find_habits(cast.host, int(stream.flows.proto[first]))
    count = int(hours * HOUR_S / WARM_UP_INTERVAL_S)
    if not count or not len(habits):
        return stream
    rows = np.random.default_rng(seed).choice(habits, count)
    started_at_s = stream.full_from_s - WARM_UP_INTERVAL_S * np.arange(count, 0, -1, dtype=np.float64)
    visits = _visit(stream.flows, rows, first, started_at_s)
    return replace(stream, flows=FlowBatch.concatenate([stream.flows, visits]))


def _find_habits(host: Life, proto: int) -> Rows:
    flows = host.flows
    is_own = (flows.orig_address == host.owner).all(axis=1)
    is_habit = is_own & answered_mask(flows) & is_unicast(flows.resp_address)
    alike = np.flatnonzero(is_habit & (flows.proto == proto))
    return alike if len(alike) else np.flatnonzero(is_habit)


def _visit(flows: FlowBatch, rows: Rows, first: int, started_at_s: npt.NDArray[np.float64]) -> FlowBatch:
    """The flows at ``rows`` at other moments with the responder of the flow ``first``, and without a label."""
    to = flows.take(np.full(len(rows), first))
    visits = replace(
        flows.take(rows),
        started_at_s=started_at_s,
        resp_address=to.resp_address,
        resp_port=to.resp_port,
        resp_mac=to.resp_mac,
        resp_is_local=to.resp_is_local,
    )
    return mask_labels(visits, np.ones(len(rows), dtype=np.bool_))
