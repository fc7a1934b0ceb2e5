"""Segments of one source's traffic, changed a little and put into another source's history.

In: labelled flows of a host and a random generator. Out: flows of a host that never lived, still labelled.
Must never: treat benign and malicious segments differently; a graft must say nothing about its label.
Source: docs/detection.md; D. Arp and others, USENIX Security 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, Milestones
from thingwarden.encode.address import hash_columns, is_unicast, is_v4, same_lan
from thingwarden.encode.sentence import local_ends
from thingwarden.encode.vocabulary import NAMED_PORTS
from thingwarden.ingest.lab_corpus import split_acts
from thingwarden.train.corpus import Part

INFRASTRUCTURE_PORTS: Final = (53, 67, 68, 123, 137, 1900, 5353)
"""Ports that keep their meaning when a segment's other ports are exchanged."""

WARP_RANGE: Final = (0.2, 5.0)
JITTER_SIGMA: Final = 0.15
NAMED_PORT_SHARE: Final = 0.4

_DIALOGUES: Final = [CONN_STATE_CODE[name] for name in ("SF", "S1", "S2", "S3", "RSTO", "RSTR")]
_COUNTS: Final = ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets")

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The flows of one host, and who it is.

    Attributes:
        name: the capture that it comes from.
        flows: in time order, labelled.
        owner: uint64 (2,), the host's address.
        mac: its link-layer address, 0 unknown.
    """

    name: str
    flows: FlowBatch
    owner: npt.NDArray[np.uint64]
    mac: np.uint64

    def __len__(self) -> int:
        return len(self.flows)

    def window(self, first: int, count: int) -> Life:
        """The flows ``first`` to ``first + count``."""
        return replace(self, flows=self.flows.take(np.arange(first, min(first + count, len(self)))))

    def with_label(self, malicious: int) -> Life:
        """Only the flows so labelled."""
        labels = self.flows.labels
        assert labels is not None
        return replace(self, flows=self.flows.take(labels.malicious == malicious))


def find_life(part: Part, *, malicious: bool) -> Life | None:
    """The host that most flows of the given label belong to, with all its flows; None where there is none."""
    flows, labels = part.flows, part.flows.labels
    if labels is None:
        return None
    chosen = labels.malicious == int(malicious)
    local = local_ends(flows)
    keys = np.stack([hash_columns(*flows.orig_address.T), hash_columns(*flows.resp_address.T)], axis=1)
    candidates = np.concatenate([keys[chosen & local[:, 0], 0], keys[chosen & local[:, 1], 1]])
    if not len(candidates):
        return None
    values, counts = np.unique(candidates, return_counts=True)
    own = keys == values[counts.argmax()]
    rows = np.flatnonzero(own.any(axis=1))
    side = int(not own[rows[0], 0])
    address = (flows.resp_address if side else flows.orig_address)[rows[0]]
    mac = (flows.resp_mac if side else flows.orig_mac)[rows[0]]
    return Life(name=part.capture.name, flows=flows.take(rows), owner=address, mac=mac)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Flows of one host in a network of many, by their rows: nothing is copied before a stretch is cut.

    Attributes:
        name: of what is in it: the network, then the act, or the host's number where it lives as usual.
        network: all flows of the network.
        rows: int32, ascending.
        owner, mac: as in ``Life``.
    """

    name: str
    network: FlowBatch
    rows: npt.NDArray[np.int32]
    owner: npt.NDArray[np.uint64]
    mac: np.uint64

    def __len__(self) -> int:
        return len(self.rows)

    def window(self, first: int, count: int) -> Life:
        """The flows ``first`` to ``first + count``."""
        flows = self.network.take(self.rows[first : first + count])
        return Life(name=self.name, flows=flows, owner=self.owner, mac=self.mac)


def find_recordings(part: Part, *, malicious: bool, by_act: bool) -> list[Recording]:
    """What each host of a network lived through of the given label.

    Args:
        part: labelled; ``labels.detail`` names the act that a flow belongs to, empty for habits.
        malicious: which flows.
        by_act: whether each act is a recording of its own, named after it; habits are named after the host.
    """
    flows, labels = part.flows, part.flows.labels
    assert labels is not None, "a corpus is labelled"
    acts, act = split_acts(labels.detail)
    own = local_ends(flows) & _is_own_unicast(flows) & (labels.malicious == int(malicious))[:, None]
    own[:, 1] &= ~(flows.orig_address == flows.resp_address).all(axis=1)
    row, side = np.nonzero(own)
    addresses = np.where((side == 0)[:, None], flows.orig_address[row], flows.resp_address[row])
    hosts, host = np.unique(addresses, axis=0, return_inverse=True)
    host = host.ravel()
    macs = np.where(side == 0, flows.orig_mac[row], flows.resp_mac[row])
    group = host * (len(acts) + 1) + (act[row] if by_act else 0)
    order = np.argsort(group, kind="stable")
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []:
        name = acts[act[row[rows[0]]]] if by_act else ""
        number = int(host[rows[0]])
        found.append(
            Recording(
                name=f"{part.capture.name}/{name or number}",
                network=flows,
                rows=row[rows].astype(np.int32),
                owner=hosts[number],
                mac=macs[rows[0]],
            )
        )
    return found


def _is_own_unicast(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    """Which ends have an address of one host's own, bool (n, 2)."""
    return np.stack([is_unicast(flows.orig_address), is_unicast(flows.resp_address)], axis=1)


def cut_segment(life: Life | Recording, rng: Rng, *, longest: int) -> Life:
    """A random stretch of a host's flows, its length log-uniform from 1 to ``longest``."""
    count = int(np.exp(rng.uniform(0.0, np.log(min(longest, len(life)) + 0.999))))
    return life.window(int(rng.integers(0, len(life) - count + 1)), count)


def vary(segment: Life, rng: Rng) -> Life:
    """Change a segment's tempo, ports, sizes and outcomes, each with some probability and consistently throughout."""
    flows = _retime(segment.flows, rng)
    if rng.random() < 0.5:
        flows = _exchange_ports(flows, rng)
    if rng.random() < 0.3:
        flows = _scale_bytes(flows, rng)
    if rng.random() < 0.2:
        flows = _exchange_refusals(flows, rng)
    return replace(segment, flows=flows)


def _retime(flows: FlowBatch, rng: Rng) -> FlowBatch:
    start_s = flows.started_at_s - flows.started_at_s[0]
    if rng.random() < 0.6:
        start_s = start_s * float(np.exp(rng.uniform(*np.log(WARP_RANGE))))
    if rng.random() < 0.5:
        gaps_s = np.diff(start_s, prepend=0.0) * np.exp(rng.normal(0.0, JITTER_SIGMA, len(start_s)))
        start_s = np.cumsum(gaps_s)
    return replace(flows, started_at_s=start_s)


def _exchange_ports(flows: FlowBatch, rng: Rng) -> FlowBatch:
    ports = np.unique(flows.resp_port)
    table = np.arange(65536, dtype=np.uint16)
    for port in ports.tolist():
        if port not in INFRASTRUCTURE_PORTS:
            table[port] = rng.choice(NAMED_PORTS) if rng.random() < NAMED_PORT_SHARE else rng.integers(1, 65536)
    is_icmp = np.isin(flows.proto, (1, 58))
    return replace(flows, resp_port=np.where(is_icmp, flows.resp_port, table[flows.resp_port]).astype(np.uint16))


def _scale_bytes(flows: FlowBatch, rng: Rng) -> FlowBatch:
    factors = np.exp(rng.normal(0.0, 0.5, 2))
    scaled = _scaled(flows, factors)
    milestones = flows.milestones
    if milestones is not None:
        so_far = _scaled(milestones, factors)
        milestones = replace(milestones, orig_bytes=so_far[0], resp_bytes=so_far[1])
    return replace(flows, orig_bytes=scaled[0], resp_bytes=scaled[1], milestones=milestones)


def _scaled(counted: FlowBatch | Milestones, factors: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    columns = zip((counted.orig_bytes, counted.resp_bytes), factors, strict=True)
    return [np.where(column > 0, np.maximum(column * factor, 1), column).astype(np.int64) for column, factor in columns]


def _exchange_refusals(flows: FlowBatch, rng: Rng) -> FlowBatch:
    """Unanswered contacts become refused ones, or the reverse: whether a firewall drops or rejects is chance."""
    source, target = ("S0", "REJ") if rng.random() < 0.5 else ("REJ", "S0")
    rows = (flows.conn_state == CONN_STATE_CODE[source]) & (flows.proto == 6)
    return fail_flows(flows, rows, target, rng)


def fail_flows(flows: FlowBatch, rows: npt.NDArray[np.bool_], state: str, rng: Rng) -> FlowBatch:
    """Let the TCP and UDP contacts at ``rows`` come to nothing, as ``S0`` or ``REJ``."""
    rows = rows & np.isin(flows.proto, (6, 17))
    refused = rows & (flows.proto == 6) & (state == "REJ")
    silent = rows & ~refused
    history = flows.history.copy()
    history[silent & (flows.proto == 6)] = b"S"
    history[silent & (flows.proto == 17)] = b"D"
    history[refused] = b"Sr"
    code = np.where(refused, CONN_STATE_CODE["REJ"], CONN_STATE_CODE["S0"])
    tries = rng.integers(1, 4, len(flows))
    zero = np.zeros(len(flows), dtype=np.int64)
    milestones = flows.milestones
    if milestones is not None:  # what has come to nothing was over before the first
        milestones = milestones.at(~rows[milestones.flow])
    return replace(
        flows,
        milestones=milestones,
        conn_state=np.where(rows, code, flows.conn_state).astype(np.uint8),
        history=history,
        service=np.where(rows & (flows.proto == 6), np.bytes_(b""), flows.service).astype(flows.service.dtype),
        duration_s=np.where(refused, rng.uniform(0.001, 0.3), np.where(silent, np.nan, flows.duration_s)),
        orig_bytes=np.where(rows & (flows.proto == 6), zero, flows.orig_bytes),
        resp_bytes=np.where(rows, zero, flows.resp_bytes),
        orig_packets=np.where(refused, 1, np.where(silent, tries, flows.orig_packets)),
        resp_packets=np.where(refused, 1, np.where(silent, 0, flows.resp_packets)),
    )


def lose_packets(flows: FlowBatch, rng: Rng) -> FlowBatch:
    """Some TCP dialogues as a sensor sees them that began late or dropped packets: letters and counts are missing, and
    how such a flow stood while it was open is not known."""
    share = float(rng.choice([0.1, 0.3, 0.8]))
    dialogue = (flows.proto == 6) & np.isin(flows.conn_state, _DIALOGUES)
    rows = np.flatnonzero(dialogue & (rng.random(len(flows)) < share))
    history, state = flows.history.copy(), flows.conn_state.copy()
    columns = {name: getattr(flows, name).copy() for name in _COUNTS}
    for row in rows.tolist():
        letters = history[row]
        if rng.random() < 0.5:
            seen = letters[int(rng.integers(0, len(letters) + 1)) :]
        else:
            seen = bytes(letter for letter in letters if rng.random() < 0.6)
        if seen:
            history[row], state[row] = seen, state_from_history(seen)
            kept = rng.random()
            for column in columns.values():
                column[row] = max(int(column[row] * kept), min(int(column[row]), 1))
    milestones = flows.milestones
    if milestones is not None:
        milestones = milestones.at(~np.isin(milestones.flow, rows))
    return replace(flows, history=history, conn_state=state, milestones=milestones, **columns)


def state_from_history(history: bytes) -> int:
    """Code of the state that Zeek gives a TCP flow of which only these letters were seen."""
    has = set(history)
    opened, answered = ord("S") in has, ord("h") in has
    if ord("R") in has:
        name = "RSTO" if any(letter in has for letter in b"hdafr") else "RSTOS0"
    elif ord("r") in has:
        name = "RSTR" if opened or ord("D") in has else "RSTRH"
    elif ord("F") in has and ord("f") in has:
        name = "SF"
    elif ord("F") in has:
        name = "S2" if opened and answered else "SH"
    elif ord("f") in has:
        name = "S3" if opened and answered else "SHR"
    elif opened and answered:
        name = "S1"
    else:
        name = "S0" if opened else "OTH"
    return CONN_STATE_CODE[name]


def add_outage(base: Life, rng: Rng) -> Life:
    """Let a share of the host's peers fall silent for a while: a dead cloud, broker, resolver or line."""
    flows = base.flows
    keys = hash_columns(
        *np.where(_is_owner(flows.orig_address, base)[:, None], flows.resp_address, flows.orig_address).T
    )
    peers = np.unique(keys)
    silent = peers[rng.random(len(peers)) < rng.choice([0.1, 0.5, 1.0])]
    first, last = np.sort(rng.integers(0, len(flows), 2))
    rows = np.isin(keys, silent)
    rows[:first] = False
    rows[last + 1 :] = False
    rows &= is_unicast(flows.resp_address)
    return replace(base, flows=fail_flows(flows, rows, "REJ" if rng.random() < 0.3 else "S0", rng))


def graft(base: Life, segment: Life, at_s: float) -> FlowBatch:
    """Put a segment into a host's life as if that host had lived it.

    Args:
        base: whose history.
        segment: whose flows, starting at 0 s.
        at_s: when, in the base's time.
    """
    flows = segment.flows
    is_orig = _is_owner(flows.orig_address, segment)
    is_resp = _is_owner(flows.resp_address, segment)
    moved = replace(
        flows,
        started_at_s=flows.started_at_s - flows.started_at_s[0] + at_s,
        orig_address=np.where(is_orig[:, None], base.owner, _move_neighbours(flows.orig_address, base, segment)),
        resp_address=np.where(is_resp[:, None], base.owner, _move_neighbours(flows.resp_address, base, segment)),
        orig_mac=np.where(is_orig, base.mac, np.uint64(0)),
        resp_mac=np.where(is_resp, base.mac, np.uint64(0)),
        orig_is_local=np.where(is_orig, np.int8(1), flows.orig_is_local),
        resp_is_local=np.where(is_resp, np.int8(1), flows.resp_is_local),
    )
    return FlowBatch.concatenate([base.flows, moved])


def exchange_peers(segment: Life, rng: Rng) -> Life:
    """Give every internet peer of a segment another address, so that two grafts of it do not share peers."""
    shift = np.uint64(rng.integers(1, 2**24))
    columns = {}
    for name in ("orig_address", "resp_address"):
        addresses = getattr(segment.flows, name).copy()
        outside = ~local_ends(segment.flows)[:, 0 if name == "orig_address" else 1] & is_unicast(addresses)
        addresses[outside, 1] = _PUBLIC_BASE + ((addresses[outside, 1] + shift) & np.uint64(0xFFFFFF))
        addresses[outside, 0] = 0
        columns[name] = addresses
    return replace(segment, flows=replace(segment.flows, **columns))


def _move_neighbours(addresses: npt.NDArray[np.uint64], base: Life, segment: Life) -> npt.NDArray[np.uint64]:
    """Addresses of the segment's IPv4 LAN as the same hosts of the base's LAN, so that a neighbour stays one."""
    here, there = (np.broadcast_to(life.owner, addresses.shape) for life in (base, segment))
    moves = is_v4(here) & is_v4(there) & is_v4(addresses) & same_lan(there, addresses)
    low = (here[:, 1] & ~_HOST_BITS) | (addresses[:, 1] & _HOST_BITS)
    moved = addresses.copy()
    moved[moves, 1] = low[moves]
    return moved


_HOST_BITS: Final = np.uint64(0xFF)
_PUBLIC_BASE: Final = np.uint64(0xFFFF << 32 | 45 << 24)


def _is_owner(addresses: npt.NDArray[np.uint64], life: Life) -> npt.NDArray[np.bool_]:
    return np.asarray((addresses == life.owner).all(axis=1))
