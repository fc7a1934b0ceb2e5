"""Cameras and doorbells: clips, pictures and talks."""

from __future__ import annotations

import numpy as np

from play_builder import build_hosts, run_hosts
from thingwarden.lab.behaviour.devices_camera import CAMERA
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def _identity(seed: int) -> Identity:
    traits = Traits(seed=str(seed), breadth=1.0)
    return Identity(name="c", kind="camera", mac="", address="10.77.0.9", address6="", pace=1.0, traits=traits)


def test_clips_weigh_more_out_than_in() -> None:
    flows = run_hosts(build_hosts(["camera"]), duration_s=600.0)
    clips = flows.take(np.flatnonzero(flows.resp_port == 554))
    assert len(clips) >= 3
    assert (clips.orig_bytes > 20 * clips.resp_bytes).all()
    assert 2.0 < np.median(clips.duration_s) < 30.0


def test_some_makers_upload_by_http_and_some_hold_a_push_session() -> None:
    names = [{habit.name for habit in CAMERA.habits(_identity(seed))} for seed in range(40)]
    assert any("recorder" in of and "store" not in of for of in names)
    assert any("store" in of for of in names)
    assert 5 < sum("push" in of for of in names) < 35


def test_talk_at_the_door_goes_both_ways() -> None:
    flows = run_hosts(build_hosts(["doorbell"]), duration_s=3600.0)
    talks = flows.take(np.flatnonzero((flows.resp_port == 3478) & (flows.orig_packets > 50)))
    assert len(talks) >= 3
    assert (talks.resp_packets > 0.9 * talks.orig_packets).all()
