"""The harmless life of one device with an attack planted into it.

In: the attack's name. Out: ``FlowBatch`` in time order, and which rows are planted.
Must never: depend on the lab or on a capture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch
from thingwarden.testing import FlowSpec, build_flows

BEGINS_S = 1800.0

PLANTS = {
    "scan": [
        FlowSpec(
            at_s=BEGINS_S + 0.05 * turn, duration_s=0.0, resp=f"203.0.113.{1 + turn}", resp_port=23,
            orig_port=40_000 + turn, conn_state="S0", orig_bytes=0, resp_bytes=0,
        )
        for turn in range(200)
    ],
    "beacon": [
        FlowSpec(
            at_s=300.0 + 30.0 * turn, duration_s=0.3, resp="198.51.100.66", resp_port=6667,
            orig_port=41_000 + turn, orig_bytes=57, resp_bytes=81,
        )
        for turn in range(100)
    ],
    "guessing": [
        FlowSpec(
            at_s=BEGINS_S + 0.2 * turn, duration_s=0.6, resp="192.168.1.20", resp_port=22, service="ssh",
            orig_port=42_000 + turn, orig_bytes=1200, resp_bytes=1500,
        )
        for turn in range(120)
    ],
    "flood": [
        FlowSpec(
            at_s=BEGINS_S + 0.004 * turn, duration_s=0.0, resp="203.0.113.80", resp_port=80,
            orig_port=20_000 + turn, conn_state="S0", orig_bytes=0, resp_bytes=0,
        )
        for turn in range(400)
    ],
}  # fmt: skip


def plant(name: str, seed: int = 0) -> tuple[FlowBatch, npt.NDArray[np.bool_]]:
    """An hour of life with the attack in it."""
    planted = PLANTS[name]
    told = sorted([*_life(seed), *planted], key=lambda spec: spec.at_s)
    return build_flows(told), np.array([spec in set(planted) for spec in told])


def _life(seed: int) -> list[FlowSpec]:
    """Names, a cloud and the time, at random moments."""
    rng = np.random.default_rng(seed)
    specs, at_s = [], 1.0
    while at_s < 3600.0:
        at_s += float(rng.exponential(25.0))
        kind, port = rng.random(), int(rng.integers(33_000, 60_000))
        if kind < 0.3:
            specs.append(
                FlowSpec(at_s=at_s, duration_s=0.02, resp="192.168.1.1", proto="udp", resp_port=53, service="dns",
                         orig_port=port, orig_bytes=int(rng.integers(28, 44)), resp_bytes=int(rng.integers(60, 200)))
            )  # fmt: skip
        elif kind < 0.9:
            specs.append(
                FlowSpec(at_s=at_s, duration_s=float(rng.uniform(0.2, 20)), resp=f"192.0.2.{rng.integers(1, 5)}",
                         service="ssl", orig_port=port, orig_bytes=int(rng.integers(500, 3000)),
                         resp_bytes=int(rng.integers(2000, 9000)))
            )  # fmt: skip
        else:
            specs.append(
                FlowSpec(at_s=at_s, duration_s=0.05, resp="192.0.2.123", proto="udp", resp_port=123, service="ntp",
                         orig_port=123, orig_bytes=48, resp_bytes=48)
            )  # fmt: skip
    return specs
