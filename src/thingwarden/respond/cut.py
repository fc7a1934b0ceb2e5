"""Which flows an act touches, as a mask over columns.

In: an act with its target, and who talked to whom. Out: bool columns.
Must never: run Python per flow; call a flow touched that the act lets pass untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress, mac_number, plain_address
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.plan import PROTOCOL_NUMBERS
from thingwarden.domain.response import Act, Target

Mask = npt.NDArray[np.bool_]
Host: TypeAlias = int | tuple[int, int]
"""A MAC as a number, or the halves of an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Who talked to whom; n flows, or n kinds of flows.

    Attributes:
        orig_mac, resp_mac: uint64 (n,), 0 unknown.
        orig_address, resp_address: uint64 (n, 2), the address's halves.
        proto: uint8 (n,).
        resp_port: uint16 (n,).
    """

    orig_mac: npt.NDArray[np.uint64]
    resp_mac: npt.NDArray[np.uint64]
    orig_address: npt.NDArray[np.uint64]
    resp_address: npt.NDArray[np.uint64]
    proto: npt.NDArray[np.uint8]
    resp_port: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.proto)

    def hosts(self) -> set[Host]:
        """Everybody among them: MACs as numbers, addresses as pairs of halves."""
        macs = np.unique(np.concatenate([self.orig_mac, self.resp_mac])).tolist()
        halves = np.unique(np.concatenate([self.orig_address, self.resp_address]), axis=0).tolist()
        return {*macs, *map(tuple, halves)}

    @classmethod
    def of_flows(cls, flows: FlowBatch, rows: npt.NDArray[Any]) -> Self:
        """Those of the flows at ``rows``."""
        return cls(**{item.name: getattr(flows, item.name)[rows] for item in fields(cls)})


def cut_by(act: Act, target: Target, ends: Ends, spared: frozenset[IpAddress] = frozenset()) -> Mask:
    """The flows that an act touches, bool (n,).

    Args:
        act, target: what is done to whom.
        ends: n flows.
        spared: hosts that a quarantined device goes on to reach.
    """
    if act in (Act.QUARANTINE, Act.ISOLATE) and target.device is not None:
        touched = involves(target.device, ends)
        for address in spared if act is Act.QUARANTINE else ():
            touched &= ~(_is_address(ends.resp_address, address) | _is_address(ends.orig_address, address))
        return touched
    if act is Act.BLOCK_PEER and target.peer is not None:
        return _is_address(ends.orig_address, target.peer) | _is_address(ends.resp_address, target.peer)
    if act in (Act.RATE_LIMIT, Act.BLOCK_FLOW) and target.device is not None:
        return _between(target.device, target, ends) & _is_service(target, ends)
    return np.zeros(len(ends), dtype=np.bool_)


def hosts_of(target: Target) -> tuple[Host, ...]:
    """The hosts without whom no flow is touched by an act on a target: the device, or the peer of every device."""
    if target.device is None:
        return () if target.peer is None else (words_from_address(plain_address(target.peer)),)
    mac = () if target.device.mac is None else (mac_number(target.device.mac),)
    address = target.device.address
    return mac if address is None else (*mac, words_from_address(plain_address(address)))


def involves(device: Device, ends: Ends) -> Mask:
    """The flows that a device began or answered, bool (n,)."""
    return _is_device(device, ends.orig_mac, ends.orig_address) | _is_device(device, ends.resp_mac, ends.resp_address)


def _between(device: Device, target: Target, ends: Ends) -> Mask:
    """Flows in the act's direction; without a port a block hits what the peer begins as well."""
    begun = _is_device(device, ends.orig_mac, ends.orig_address)
    answered = _is_device(device, ends.resp_mac, ends.resp_address)
    if target.peer is None:
        return answered if target.is_inbound else begun
    outward, inward = (
        begun & _is_address(ends.resp_address, target.peer),
        answered & _is_address(ends.orig_address, target.peer),
    )
    if target.is_inbound:
        return inward
    return outward if target.port is not None else outward | inward


def _is_service(target: Target, ends: Ends) -> Mask:
    fits = np.ones(len(ends), dtype=np.bool_)
    if target.proto is not None:
        fits &= ends.proto == PROTOCOL_NUMBERS[target.proto]
    if target.port is not None:
        fits &= ends.resp_port == target.port
    return fits


def _is_device(device: Device, mac: npt.NDArray[np.uint64], address: npt.NDArray[np.uint64]) -> Mask:
    """By MAC where both sides know one; by address else."""
    by_address = np.zeros(len(mac), dtype=np.bool_) if device.address is None else _is_address(address, device.address)
    if device.mac is None:
        return by_address
    return np.asarray(np.where(mac != 0, mac == np.uint64(mac_number(device.mac)), by_address))


def _is_address(column: npt.NDArray[np.uint64], address: IpAddress) -> Mask:
    high, low = words_from_address(plain_address(address))
    return np.asarray((column[:, 0] == np.uint64(high)) & (column[:, 1] == np.uint64(low)))
