"""From device to device."""

from __future__ import annotations

from lab_act_builder import lan_address, peers_of, perform, states_of

CAMERA, HUB = lan_address("camera"), lan_address("hub")


def test_open_door_is_found_guessed_at_and_entered() -> None:
    settings = {"targets": (CAMERA, HUB), "port": 23, "tries": 4, "finds": True, "commands": 20}
    flows = perform("spread", settings, lasts_s=120.0)
    assert sorted(states_of(flows)).count("REJ") == 1
    # A probe, two connections of guesses, the loader's session.
    assert states_of(flows).count("SF") == 4
    assert flows.orig_bytes[-1] > 500


def test_without_a_password_nobody_enters() -> None:
    settings = {"targets": (CAMERA,), "port": 23, "tries": 4, "finds": False}
    assert len(perform("spread", settings, lasts_s=120.0)) == 3


def test_own_address_is_left_out() -> None:
    flows = perform("spread", {"targets": (lan_address("bot"), CAMERA), "port": 23})
    assert peers_of(flows) == {CAMERA}


def test_bound_in_time_holds_for_the_whole_act() -> None:
    settings = {"targets": (CAMERA,), "port": 23, "tries": 300, "think_s": 2.0}
    flows = perform("spread", settings, lasts_s=15.0)
    assert flows.started_at_s.max() - flows.started_at_s.min() <= 16.0
