"""Milestones of flows that are known only by their ends: how such a flow may have stood while it was open.

In: flows of a log or a sketch, a random generator. Out: the same flows with ``Milestones``.
Must never: look at a label, or give a flow that was metered other milestones than it had.

Packets come from one model of pace: the n-th of N packets comes at the share ((n - 1) / (N - 1)) ^ g of the duration,
both ends' packets evenly mixed, payload once a handshake is over. g is drawn anew for each flow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import (
    CONN_STATE_CODE,
    HISTORY_LENGTH,
    MILESTONE_AGES_S,
    MILESTONE_PACKETS,
    UNKNOWN_COUNT,
    FlowBatch,
    Milestones,
)
from thingwarden.encode.word import ANSWERED_STATES, code_mask

PACE_RANGE: Final = (0.4, 2.5)
"""Of g: above 1 most packets come early, below it late."""

HANDSHAKE_PACKETS: Final = 3
_TCP, _UDP = 6, 17
_ANSWERED: Final = code_mask(ANSWERED_STATES)
_OPEN_STATES: Final = {name: CONN_STATE_CODE[name] for name in ("S0", "S1", "SF", "OTH")}
_ENDINGS: Final = np.frombuffer(b"FfRr", dtype=np.uint8)

Rng = np.random.Generator
Ints = npt.NDArray[np.int64]


def imagine_milestones(flows: FlowBatch, rng: Rng) -> FlowBatch:
    """Give flows without milestones some, as a meter would note them; flows that were metered stay as they are."""
    if flows.milestones is not None or not flows.is_timed or not len(flows):
        return flows
    total = np.maximum(flows.orig_packets, 0) + np.maximum(flows.resp_packets, 0)
    duration_s = np.nan_to_num(flows.duration_s)
    pace = np.exp(rng.uniform(np.log(PACE_RANGE[0]), np.log(PACE_RANGE[1]), len(flows)))
    flow, nth = _stops(total, duration_s, pace)
    share = (nth - 1) / np.maximum(total[flow] - 1, 1)
    standing = _Standing(flows.take(flow), nth, total[flow])
    elapsed_s = duration_s[flow] * share ** pace[flow]
    orig_packets = standing.orig_packets()
    resp_packets = nth - orig_packets
    payload = standing.payload_share()
    milestones = Milestones(
        flow=flow,
        elapsed_s=elapsed_s,
        orig_bytes=_bytes_so_far(standing.flows.orig_bytes, payload, elapsed_s),
        resp_bytes=_bytes_so_far(standing.flows.resp_bytes, payload, elapsed_s),
        orig_packets=orig_packets,
        resp_packets=resp_packets,
        conn_state=standing.states(resp_packets),
        history_letters=standing.letters(),
        has_service=(standing.flows.service != b"") & (payload > 0),
    )
    return replace(flows, milestones=milestones)


def _stops(total: Ints, duration_s: npt.NDArray[np.float64], pace: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Flows and which of their packets is looked at, each once, in order."""
    flows, packets = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for count in MILESTONE_PACKETS:
        rows = np.flatnonzero(total >= count)
        flows.append(rows)
        packets.append(np.full(len(rows), count, dtype=np.int64))
    for age_s in MILESTONE_AGES_S:
        rows = np.flatnonzero((duration_s >= age_s) & (total >= 2))
        share = (age_s / duration_s[rows]) ** (1.0 / pace[rows])
        nth = 1 + np.ceil(share * (total[rows] - 1) - 1e-9).astype(np.int64)
        flows.append(rows)
        packets.append(np.clip(nth, 2, total[rows]))
    both = np.unique(np.stack([np.concatenate(flows), np.concatenate(packets)], axis=1), axis=0)
    return both[:, 0], both[:, 1]


@dataclass(frozen=True, slots=True)
class _Standing:
    """Flows at one of their packets, once for each milestone."""

    flows: FlowBatch
    nth: Ints
    total: Ints

    @property
    def is_over(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.nth == self.total)

    def orig_packets(self) -> Ints:
        """Evenly mixed; the first packet is the originator's."""
        orig = np.maximum(self.flows.orig_packets, 0)
        even = np.rint(self.nth * orig / np.maximum(self.total, 1)).astype(np.int64)
        least = np.maximum(self.nth - np.maximum(self.flows.resp_packets, 0), 0)
        return np.clip(even, np.maximum(least, np.minimum(orig, 1)), np.minimum(orig, self.nth))

    def payload_share(self) -> npt.NDArray[np.float64]:
        """How much of the payload has passed."""
        before = np.where(self.flows.proto == _TCP, HANDSHAKE_PACKETS, 0)
        share = (self.nth - before) / np.maximum(self.total - before, 1)
        return np.clip(share, 0.0, 1.0)

    def states(self, resp_packets: Ints) -> npt.NDArray[np.uint8]:
        """Answered connections are open until their last packet."""
        final = self.flows.conn_state
        tcp = np.where(_ANSWERED[final] & ~self.is_over, _OPEN_STATES["S1"], final)
        udp = np.where(resp_packets > 0, _OPEN_STATES["SF"], _OPEN_STATES["S0"])
        proto = self.flows.proto
        return np.select([proto == _TCP, proto == _UDP], [tcp, udp], _OPEN_STATES["OTH"]).astype(np.uint8)

    def letters(self) -> npt.NDArray[np.uint8]:
        """All of a history but its endings, which come with the last packet."""
        history = np.ascontiguousarray(self.flows.history).view(np.uint8).reshape(-1, HISTORY_LENGTH)
        ends = np.isin(history, _ENDINGS) | (history == 0)
        open_letters = np.where(ends.any(axis=1), ends.argmax(axis=1), HISTORY_LENGTH)
        written = (history != 0).sum(axis=1)
        seen = np.where(self.is_over, written, np.minimum(open_letters, self.nth))
        return seen.astype(np.uint8)


def _bytes_so_far(total: Ints, share: npt.NDArray[np.float64], elapsed_s: npt.NDArray[np.float64]) -> Ints:
    """None where nothing is known of the whole, or no time has passed."""
    is_known = (total >= 0) & (elapsed_s > 0)
    return np.where(is_known, np.ceil(total * share), UNKNOWN_COUNT).astype(np.int64)
