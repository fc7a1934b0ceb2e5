"""Traffic of 200 devices as a gateway sees it, made from a seed, to measure speed and memory on.

In: a scenario, how many flows, a seed. Out: ``FlowBatch``; the same seed gives the same flows.
Must never: be used to judge what a model can tell apart; it is drawn for its rates and numbers, not for its truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, Milestones

DEVICE_COUNT: Final = 200
START_S: Final = 1_700_000_000.0

_V4: Final = np.uint64(0xFFFF << 32)
_LAN: Final = _V4 | np.uint64(0x0A000000)  # 10.0.0.0/8
_GATEWAY: Final = _LAN | np.uint64(1)
_CLOUD: Final = _V4 | np.uint64(0xCB007100)  # 203.0.113.0/24
_SCANNED: Final = _V4 | np.uint64(0xC6120000)  # 198.18.0.0/15
_FIRST_HOST: Final = 16
_SERVER_COUNT: Final = 20

_SERVICES: Final = (
    # share, port, protocol, Zeek's name, history; towards: gateway, cloud, cloud, cloud, another device
    (0.35, 53, 17, b"dns", b"Dd"),
    (0.30, 443, 6, b"ssl", b"ShADadfF"),
    (0.15, 123, 17, b"ntp", b"Dd"),
    (0.10, 8883, 6, b"mqtt", b"ShADadfF"),
    (0.10, 80, 6, b"http", b"ShADadfF"),
)
_TO_GATEWAY, _TO_DEVICE = 0, 4
_FAILURE_RATIO: Final = 0.02
_MILESTONE_PACKETS: Final = (4, 16)
_MILESTONE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who says how much.

    Attributes:
        name, says: for reports.
        flows_per_s: of the whole network, in traffic time.
        loud_ratio: share of the flows that the first device makes; the others' rates follow Zipf's law.
        is_scan: whether the loud device scans instead of talking to its servers.
    """

    name: str
    says: str
    flows_per_s: float
    loud_ratio: float = 0.0
    is_scan: bool = False


SCENARIOS: Final = (
    Scenario(name="zipf", says="rates by Zipf's law", flows_per_s=30.0),
    Scenario(name="loud", says="one device makes 90 % of the flows, all ordinary", flows_per_s=300.0, loud_ratio=0.9),
    Scenario(
        name="scan", says="one device makes 90 % of the flows by scanning", flows_per_s=2000.0, loud_ratio=0.9,
        is_scan=True,
    ),
)  # fmt: skip


def make_traffic(
    scenario: Scenario, flow_count: int, *, device_count: int = DEVICE_COUNT, first_host: int = 0, seed: int = 0
) -> FlowBatch:
    """Flows of ``device_count`` devices, by time of their start.

    Args:
        scenario: who says how much.
        flow_count: how many.
        device_count: at least 2.
        first_host: number of the first device; other numbers give other devices.
        seed: of everything drawn.
    """
    draw = np.random.default_rng(seed)
    device = draw.choice(device_count, flow_count, p=_shares(scenario, device_count))
    service = draw.choice(len(_SERVICES), flow_count, p=[row[0] for row in _SERVICES])
    number = (device + first_host + _FIRST_HOST).astype(np.uint64)
    peer = _peers(draw, service, number)
    is_answered = draw.random(flow_count) >= _FAILURE_RATIO
    port = _column(service, 1, np.uint16)
    if scenario.is_scan:
        scans = device == 0
        peer[scans] = _SCANNED | draw.integers(0, 1 << 17, int(scans.sum())).astype(np.uint64)
        service[scans], port[scans], is_answered[scans] = 1, 23, False
    flows = FlowBatch.unknown(
        flow_count,
        started_at_s=START_S + np.cumsum(draw.exponential(1.0 / scenario.flows_per_s, flow_count)),
        orig_address=_addresses(_LAN | number),
        resp_address=_addresses(peer),
        orig_port=draw.integers(32768, 61000, flow_count).astype(np.uint16),
        resp_port=port,
        proto=_column(service, 2, np.uint8),
        **_outcomes(draw, service, is_answered),
    )
    return replace(flows, milestones=_milestones(flows))


def _shares(scenario: Scenario, device_count: int) -> npt.NDArray[np.float64]:
    shares = 1.0 / np.arange(1, device_count + 1)
    if scenario.loud_ratio:
        shares[0] = scenario.loud_ratio / (1.0 - scenario.loud_ratio) * shares[1:].sum()
    return np.asarray(shares / shares.sum())


def _peers(
    draw: np.random.Generator, service: npt.NDArray[np.int64], number: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Whom each flow reaches: the gateway, one of the device's own servers, or the device next to it."""
    server = draw.integers(0, _SERVER_COUNT, len(service)).astype(np.uint64)
    peer = _CLOUD | (number * np.uint64(7) + server) % np.uint64(250)
    peer[service == _TO_GATEWAY] = _GATEWAY
    near = service == _TO_DEVICE
    peer[near] = _LAN | (number[near] ^ np.uint64(1))
    return np.asarray(peer)


def _outcomes(
    draw: np.random.Generator, service: npt.NDArray[np.int64], is_answered: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.generic]]:
    count = len(service)
    sent, received = draw.integers(30, 600, count), draw.integers(30, 4000, count)
    packets = draw.integers(1, 12, count)
    unheard = np.where(_column(service, 2, np.uint8) == 6, b"S", b"D")
    return {
        "duration_s": np.where(is_answered, draw.exponential(0.3, count), 0.0),
        "orig_bytes": np.where(is_answered, sent, 0),
        "resp_bytes": np.where(is_answered, received, 0),
        "orig_packets": np.where(is_answered, packets, 1),
        "resp_packets": np.where(is_answered, packets, 0),
        "conn_state": np.where(is_answered, CONN_STATE_CODE["SF"], CONN_STATE_CODE["S0"]).astype(np.uint8),
        "history": np.where(is_answered, _column(service, 4, "S24"), unheard).astype("S24"),
        "service": np.where(is_answered, _column(service, 3, "S24"), b"").astype("S24"),
    }


def _milestones(flows: FlowBatch) -> Milestones:
    """How each flow stood when it had so many packets, and after a second; its packets come evenly."""
    packets = flows.orig_packets + flows.resp_packets
    share = [np.divide(count, packets) for count in _MILESTONE_PACKETS]
    with np.errstate(divide="ignore"):
        share.append(_MILESTONE_S / flows.duration_s)
    passed = np.stack(share, axis=1)  # (n, 3): how much of the flow was over
    flow, which = np.nonzero(passed < 1.0)
    so_far = passed[flow, which]
    order = np.lexsort((so_far, flow))
    flow, so_far = flow[order], so_far[order]
    counts = {
        name: np.rint(getattr(flows, name)[flow] * so_far).astype(np.int64)
        for name in ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets")
    }
    is_tcp = flows.proto[flow] == 6
    return Milestones(
        flow=flow,
        elapsed_s=flows.duration_s[flow] * so_far,
        conn_state=np.where(is_tcp, CONN_STATE_CODE["S1"], CONN_STATE_CODE["SF"]).astype(np.uint8),
        history_letters=np.where(is_tcp, 5, 2).astype(np.uint8),
        has_service=np.ones(len(flow), dtype=np.bool_),
        **counts,
    )


def _column(service: npt.NDArray[np.int64], place: int, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """One attribute of each flow's service."""
    return np.array([row[place] for row in _SERVICES], dtype=dtype)[service]


def _addresses(low: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return np.stack([np.zeros_like(low), low], axis=1)
