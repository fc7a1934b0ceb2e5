"""What an attacker can do not to be found: named evasions, each an exact transformation of labelled flows.

In: labelled flows of one network, an evasion, a strength. Out: ``Evaded``.
Must never: touch a flow that is not an attack's, so that the false-alarm budget stays what it was.
Sources: I. Corona, G. Giacinto, F. Roli, "Adversarial attacks against intrusion detection systems", 2013, for the
taxonomy; G. Apruzzese and others, "Modeling realistic adversarial attacks against network intrusion detection systems",
2022, for what an attacker really controls.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from thingwarden.bench.evasion_crowd import dilute, reach_decoy, reach_split, split_hosts
from thingwarden.bench.evasion_mimicry import disguise, reach_disguise
from thingwarden.bench.evasion_rows import Evaded, Move, Reach
from thingwarden.bench.evasion_shape import (
    hop_ports,
    pad,
    reach_payload,
    reach_port,
    reach_source,
    shape_sources,
)
from thingwarden.bench.evasion_timing import jitter, reach_beat, reach_pace, slow_down
from thingwarden.domain.flow import FlowBatch

UNCHANGED: Final = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evasion:
    """One way not to be found.

    Attributes:
        name: as the command line takes it.
        unit: what a strength says, for the report.
        strengths: those that are measured beside ``UNCHANGED``, ascending.
        reach: which attack flows it may change.
        move: changes them.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    reach: Reach
    move: Move


EVASIONS: Final = {
    evasion.name: evasion
    for evasion in (
        Evasion(
            name="padding",
            unit="payload grown log-uniformly up to so many times",
            strengths=(2.0, 8.0, 64.0),
            reach=reach_payload,
            move=pad,
        ),
        Evasion(
            name="jitter",
            unit="standard deviation of the intervals' logarithms",
            strengths=(0.25, 0.5, 1.0, 2.0),
            reach=reach_beat,
            move=jitter,
        ),
        Evasion(
            name="slowness",
            unit="times slower",
            strengths=(3.0, 10.0, 100.0, 1000.0),
            reach=reach_pace,
            move=slow_down,
        ),
        Evasion(
            name="port-hopping",
            unit="responder ports in turn",
            strengths=(1.0, 8.0, 1024.0),
            reach=reach_port,
            move=hop_ports,
        ),
        Evasion(
            name="mimicry",
            unit="1 sizes, 2 also ports and service, 3 also kind of peer, 4 also the peer",
            strengths=(1.0, 2.0, 3.0, 4.0),
            reach=reach_disguise,
            move=disguise,
        ),
        Evasion(
            name="source-ports",
            unit="1 as Linux, 2 as the host's own, 3 always 53",
            strengths=(1.0, 2.0, 3.0),
            reach=reach_source,
            move=shape_sources,
        ),
        Evasion(
            name="dilution",
            unit="harmless flows repeated per attack flow",
            strengths=(1.0, 4.0, 16.0),
            reach=reach_decoy,
            move=dilute,
        ),
        Evasion(
            name="splitting",
            unit="infected hosts in turn",
            strengths=(2.0, 4.0, 8.0),
            reach=reach_split,
            move=split_hosts,
        ),
    )
}
"""By name, in the order of the report."""


def evade(flows: FlowBatch, evasion: Evasion, strength: float, seed: int) -> Evaded:
    """The network as it would look had its attackers evaded so.

    Args:
        flows: labelled, timed, of one network.
        evasion: one of ``EVASIONS``.
        strength: ``UNCHANGED`` gives the flows back as they are.
        seed: of all that is drawn; equal seeds give equal flows.

    Raises:
        InputError: the flows have no labels.
    """
    reached = evasion.reach(flows)
    if strength == UNCHANGED or not reached.any():
        return Evaded.in_place(flows, reached)
    rng = np.random.default_rng([seed, zlib.crc32(evasion.name.encode())])
    return evasion.move(flows, reached, strength, rng)
