"""The catalogue of evasions: names, ascending strengths, and seeds that keep one network's draws from another's."""

from __future__ import annotations

import numpy as np
import pytest

from evasion_builder import attacked_network, calls_attacks
from thingwarden.bench.evasion import EVASIONS, UNCHANGED, evade


def test_every_evasion_is_known_by_its_name_and_rises_in_strength() -> None:
    for name, evasion in EVASIONS.items():
        assert evasion.name == name and evasion.unit
        assert evasion.strengths[0] > UNCHANGED
        assert list(evasion.strengths) == sorted(set(evasion.strengths))


def test_what_is_asked_for_is_covered() -> None:
    assert {"padding", "jitter", "port-hopping", "slowness", "mimicry", "source-ports", "dilution", "splitting"} == set(
        EVASIONS
    )


def test_without_an_attack_nothing_is_changed() -> None:
    flows = attacked_network()
    quiet = flows.take(~calls_attacks(flows))
    for evasion in EVASIONS.values():
        evaded = evade(quiet, evasion, evasion.strengths[-1], 1)
        assert evaded.flows is quiet and not evaded.reached.any()


@pytest.mark.parametrize("name", ["padding", "jitter", "port-hopping", "dilution"])
def test_another_seed_draws_otherwise(name: str) -> None:
    flows, evasion = attacked_network(), EVASIONS[name]
    one, other = (evade(flows, evasion, evasion.strengths[-1], seed).flows for seed in (1, 2))
    differs = [
        not np.array_equal(getattr(one, column), getattr(other, column))
        for column in ("started_at_s", "orig_bytes", "resp_port")
    ]
    assert any(differs)
