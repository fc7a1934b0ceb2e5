"""Each harmless act does what its name says, is labelled benign with the name of its event, and ends in time."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.behaviour.chores import CHORES
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.recipe import Recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.simulated.run import simulate

DURATION_S = 120.0
BEGINS_S = 30.0


def flows_of(kind: str, *, lasts_s: float = 60.0, **event: object) -> FlowBatch:
    """Flows that the act causes in a small home."""
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "about": "A home for one chore.",
            "duration_s": DURATION_S,
            "seed": 1,
            "exclude_from_training": True,
            "condition": "wired",
            "devices": [
                {"name": "phone", "kind": "phone", "host": 41},
                {"name": "printer", "kind": "printer", "host": 61},
            ],
            "events": [
                {
                    "kind": kind,
                    "by": ["phone"],
                    "begins_ratio": [BEGINS_S / DURATION_S] * 2,
                    "lasts_s": lasts_s,
                    **event,
                }
            ],
        }
    )
    flows = FlowBatch.concatenate(list(simulate(draw_schedule(recipe), live, ACTS)))
    assert flows.labels is not None
    assert not flows.labels.malicious.any()
    return flows.take(flows.labels.detail == f"benign:{kind}".encode())


def test_chores_are_benign_and_aim_inside_the_lab() -> None:
    for kind in CHORES.values():
        assert kind.attack_class is AttackClass.BENIGN
        assert kind.technique == ""
        for aim in kind.aims(kind.settings()):
            require_inside(aim.peer)


def test_firmware_is_fetched_part_by_part() -> None:
    settings = {"image_bytes": 1_000_000, "part_bytes": 400_000, "is_kept": False}
    flows = flows_of("fetch_firmware", settings=settings)
    assert len(flows) == 4
    assert flows.resp_bytes.sum() > 1_000_000
    assert set(flows.resp_port.tolist()) == {443}


def test_a_kept_connection_carries_all_parts() -> None:
    settings = {"total_bytes": 3_000_000, "part_bytes": 500_000}
    (sent_bytes,) = flows_of("backup", settings=settings).orig_bytes.tolist()
    assert sent_bytes > 3_000_000


def test_a_call_goes_both_ways_for_as_long_as_it_lasts() -> None:
    flows = flows_of("call_by_video")
    assert len(flows) == 2
    assert (flows.proto == 17).all()
    assert flows.duration_s == pytest.approx([60.0, 60.0], abs=3.0)
    assert flows.orig_packets == pytest.approx(flows.resp_packets, rel=0.1)


def test_a_dead_server_is_asked_again_and_again_and_never_answers() -> None:
    flows = flows_of("call_dead_server", settings={"period_s": 5.0, "jitter": 0.0})
    assert 8 <= len(flows) <= 13
    assert (flows.resp_packets == 0).all()


def test_a_portal_is_met_until_somebody_clicks() -> None:
    flows = flows_of("meet_portal", settings={"looks": 4})
    assert len(flows) == 5
    assert flows.resp_bytes.max() > 30_000


def test_everybody_is_asked_for_printers_and_printers_are_visited() -> None:
    flows = flows_of("look_for_printers", on=["printer"], settings={"rounds": 3})
    assert {5353, 1900, 161, 631, 9100} <= set(flows.resp_port.tolist())


def test_a_clock_that_jumps_asks_for_the_time_and_does_all_that_is_due() -> None:
    flows = flows_of("catch_up_with_clock", settings={"questions": 5, "jobs": 3})
    assert np.bincount(flows.resp_port)[[123, 443]].tolist() == [5, 3]


@pytest.mark.parametrize("kind", ["backup", "fetch_firmware", "call_dead_server", "meet_portal", "look_for_printers"])
def test_a_chore_ends_in_time(kind: str) -> None:
    flows = flows_of(kind, lasts_s=5.0)
    started_s = flows.started_at_s - flows.started_at_s.min()
    assert started_s.max() <= 10.0


def test_the_owners_scan_asks_the_whole_network_by_default() -> None:
    (aim,) = CHORES["scan_own_network"].aims(CHORES["scan_own_network"].settings())
    assert (aim.peer, aim.proto) == ("10.77.0.0/24", 0)
