"""Gives metered flows the labels that follow from a scenario's truth and from when its acts really took place.

In: ``FlowBatch``, ``Truth``, ``Timing``. Out: the batch with ``Labels``.
Must never: mark a flow malicious by its address alone; pair, protocol, port and moment must all fit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import DETAIL_LENGTH, FlowBatch, Labels, words_from_address
from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.lab.timeline import Aim
from thingwarden.lab.truth import Harmless, Interval, Timing, Truth, label_detail

_SLACK_S: Final = 0.5
"""How far outside its interval a flow may begin: the clock is read before and after a program, not inside it."""
_FIRST_EPHEMERAL_PORT: Final = 32_768
"""Linux takes a client's port from here on, and nmap's are above as well."""

Rows: TypeAlias = npt.NDArray[np.bool_]
End = Literal["orig", "resp"]


def label_flows(flows: FlowBatch, truth: Truth, timing: Timing) -> FlowBatch:
    """Give each flow its label: the attack that caused it, or benign, with the harmless event that touched it.

    Where two attacks fit, the one that says more of whom it is aimed at is right.

    Args:
        flows: metered from the capture of a run.
        truth: of its schedule.
        timing: of this run.

    Raises:
        InputError: the flows carry no time.
    """
    view = _View(flows, timing)
    attack_class = np.full(len(flows), CLASS_INDEX[AttackClass.BENIGN], dtype=np.int8)
    detail = np.full(len(flows), b"benign", dtype=f"S{DETAIL_LENGTH}")
    offences = [interval for interval in truth.intervals if interval.role == "offender"]
    for interval in sorted(offences, key=_precision):
        hit = view.rows_of_attack(interval)
        named = AttackClass(interval.attack_class)
        attack_class[hit] = CLASS_INDEX[named]
        detail[hit] = label_detail(interval.name, named)
    labels = Labels(
        malicious=(attack_class != CLASS_INDEX[AttackClass.BENIGN]).astype(np.int8),
        attack_class=attack_class,
        ton_class=np.full(len(flows), -1, dtype=np.int8),
        detail=detail,
    )
    return mark_harmless(replace(flows, labels=labels), truth, timing)


def mark_harmless(flows: FlowBatch, truth: Truth, timing: Timing) -> FlowBatch:
    """Name in the ``detail`` of benign flows the harmless event that touched them; attacks keep what they say.

    Args:
        flows: labelled.
        truth, timing: as for ``label_flows``.

    Raises:
        InputError: the flows carry no time.
    """
    labels = flows.labels
    assert labels is not None, "flows without labels"
    view = _View(flows, timing)
    detail = labels.detail.copy()
    is_benign = labels.malicious == 0
    for event in truth.harmless:
        detail[is_benign & view.rows_of_harmless(event)] = label_detail(event.name, AttackClass.BENIGN)
    return replace(flows, labels=replace(labels, detail=detail))


def _precision(interval: Interval) -> tuple[bool, int, bool, int]:
    """Ascending in how much an aim says."""
    prefix_length = ipaddress.ip_network(interval.peer).prefixlen
    return bool(interval.ports), -len(interval.ports), interval.proto != 0, prefix_length


class _View:
    """The flows of one run, asked which of them fit; what is asked often is kept."""

    def __init__(self, flows: FlowBatch, timing: Timing) -> None:
        if not flows.is_timed:
            raise InputError("flows to label", "they carry no time", "Meter the scenario's capture.")
        self._flows = flows
        self._timing = timing
        self._began_at_s = timing.began_at.timestamp()
        self._inside: dict[tuple[End, str], Rows] = {}

    def rows_of_attack(self, interval: Interval) -> Rows:
        """Flows of an attack, whichever way round they were metered.

        Most attacks make flows of their own, which begin while they last; false ARP replies lead astray what is there.
        """
        begins_s, ends_s = self._timing.spans.get(interval.planned, (interval.begins_s, interval.ends_s))
        found = self._within(begins_s - _SLACK_S, ends_s + _SLACK_S)
        if interval.attack_class == AttackClass.MITM.value:
            found |= self._lasts_into(begins_s, ends_s)
        aim = Aim(peer=interval.peer, proto=interval.proto, ports=interval.ports)
        return found & self._fits(interval.addresses, aim)

    def rows_of_harmless(self, event: Harmless) -> Rows:
        """Flows that a harmless event touches, devices' catching up included."""
        spans = self._timing.spans
        begins_s = spans.get(event.begun_by, (event.begins_s, 0.0))[0]
        ends_s = spans.get(event.ended_by, (0.0, event.ends_s))[1]
        found = self._within(begins_s - _SLACK_S, ends_s + _SLACK_S + event.aftermath_s)
        if event.aims:
            return found & self._any(self._fits(event.addresses, aim) for aim in event.aims)
        return found & (self._touches("orig", event.addresses) | self._touches("resp", event.addresses))

    def _within(self, begins_s: float, ends_s: float) -> Rows:
        since_s = self._flows.started_at_s - self._began_at_s
        found: Rows = (since_s >= begins_s) & (since_s <= ends_s)
        return found

    def _lasts_into(self, begins_s: float, ends_s: float) -> Rows:
        from_s = self._flows.started_at_s - self._began_at_s
        until_s = self._flows.ended_at_s - self._began_at_s
        found: Rows = (from_s <= ends_s) & (until_s >= begins_s)
        return found

    def _fits(self, addresses: tuple[str, ...], aim: Aim) -> Rows:
        found = self._is_towards("orig", "resp", addresses, aim)
        # A meter that missed the first packet may have the two ends the other way round.
        found |= self._is_towards("resp", "orig", addresses, aim)
        if aim.proto:
            found &= self._flows.proto == aim.proto
        return found

    def _is_towards(self, near: End, far: End, addresses: tuple[str, ...], aim: Aim) -> Rows:
        found = self._touches(far, (aim.peer,))
        if addresses:
            found = found & self._touches(near, addresses)
        is_icmp = np.isin(self._flows.proto, (PROTO_ICMP, PROTO_ICMP6))
        if aim.ports:
            return found & (np.isin(self._ports(far), aim.ports) | is_icmp)
        if near == "resp":
            # From one of the offender's own services a flow is somebody's visit to it, not its attack.
            return found & (self._ports(near) >= _FIRST_EPHEMERAL_PORT) & ~is_icmp
        return found

    def _ports(self, end: End) -> npt.NDArray[np.uint16]:
        return self._flows.orig_port if end == "orig" else self._flows.resp_port

    def _touches(self, end: End, prefixes: tuple[str, ...]) -> Rows:
        return self._any(self._is_inside(end, prefix) for prefix in prefixes)

    def _any(self, masks: Iterable[Rows]) -> Rows:
        found = np.zeros(len(self._flows), dtype=np.bool_)
        for mask in masks:
            found |= mask
        return found

    def _is_inside(self, end: End, prefix: str) -> Rows:
        if (end, prefix) not in self._inside:
            words = self._flows.orig_address if end == "orig" else self._flows.resp_address
            self._inside[end, prefix] = _is_inside(words, prefix)
        return self._inside[end, prefix]


def _is_inside(words: npt.NDArray[np.uint64], prefix: str) -> Rows:
    """Which addresses, uint64 (n, 2) as in ``FlowBatch``, lie in ``prefix``."""
    network = ipaddress.ip_network(prefix)
    high, low = words_from_address(network.network_address)
    free_bits = network.max_prefixlen - network.prefixlen
    mask = (1 << 128) - (1 << free_bits)
    found: Rows = (words[:, 0] & np.uint64(mask >> 64) == np.uint64(high)) & (
        words[:, 1] & np.uint64(mask & (2**64 - 1)) == np.uint64(low)
    )
    return found
