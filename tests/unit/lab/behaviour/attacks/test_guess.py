"""Passwords at logins."""

from __future__ import annotations

import numpy as np
import pytest

from lab_act_builder import begun_at_s, lan_address, perform, states_of, tools_of
from thingwarden.lab.behaviour.attacks.guess import FACTORY_PASSWORDS
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN
from thingwarden.lab.tool import LoginGuess

CAMERA, HUB = lan_address("camera"), lan_address("hub")


def test_the_accepted_password_is_the_one_that_cameras_know() -> None:
    assert FACTORY_PASSWORDS[0] == FACTORY_LOGIN
    assert len(set(FACTORY_PASSWORDS)) == len(FACTORY_PASSWORDS) > 50


def test_telnet_dialogues_are_alike_and_end_orderly() -> None:
    flows = perform("guess_telnet", {"targets": (CAMERA,), "tries": 12, "pause_s": 1.0}, lasts_s=120.0)
    assert states_of(flows) == ["SF"] * 4
    assert np.ptp(flows.orig_bytes) < 40
    assert flows.resp_bytes.min() > 100


def test_finding_the_password_ends_the_guessing_with_a_shell() -> None:
    found, vain = (
        perform("guess_telnet", {"targets": (CAMERA,), "tries": 5, "finds": finds}, lasts_s=60.0)
        for finds in (True, False)
    )
    assert len(found) == len(vain) == 2
    # Mirai shows its success by five commands.
    assert found.orig_bytes[-1] > vain.orig_bytes[-1] + 30
    assert found.resp_bytes[-1] > vain.resp_bytes[-1] + 60


@pytest.mark.parametrize("pause_s", [0.2, 5.0])
def test_pause_sets_the_rhythm(pause_s: float) -> None:
    settings = {"targets": (HUB,), "tries": 20, "pause_s": pause_s}
    flows = perform("guess_mqtt", settings, lasts_s=400.0)
    assert len(flows) == 20
    assert set(flows.service.tolist()) == {b"mqtt"}
    assert np.mean(np.diff(begun_at_s(flows))) == pytest.approx(pause_s, rel=0.4)


def test_workers_share_the_passwords() -> None:
    settings = {"targets": (HUB,), "tries": 24, "parallel": 4, "pause_s": 2.0}
    flows = perform("guess_mqtt", settings, lasts_s=100.0)
    assert len(flows) == 24
    assert begun_at_s(flows)[3] < 0.1


def test_one_connection_carries_several_passwords_over_http() -> None:
    one, many = (
        perform("guess_http", {"targets": (CAMERA,), "tries": 20, "per_connection": count, "port": 80})
        for count in (1, 10)
    )
    assert (len(one), len(many)) == (20, 2)
    assert set(many.service.tolist()) == {b"http"}
    assert many.orig_bytes.min() > 5 * one.orig_bytes.max()


def test_rtsp_is_asked_to_describe_itself() -> None:
    flows = perform("guess_rtsp", {"targets": (CAMERA,), "tries": 8, "per_connection": 4})
    assert states_of(flows) == ["SF", "SF"]


@pytest.mark.parametrize("act", ["guess_ssh", "guess_ftp"])
def test_closed_doors_are_knocked_at_until_the_bound(act: str) -> None:
    flows = perform(act, {"targets": (HUB,), "port": 2222, "tries": 9, "pause_s": 0.5})
    assert set(states_of(flows)) == {"REJ"}
    assert len(flows) == 3


def test_bound_in_time_is_shared_by_targets() -> None:
    settings = {"targets": (CAMERA, HUB), "port": 80, "tries": 300, "pause_s": 1.0}
    flows = perform("guess_http", settings, lasts_s=20.0)
    assert begun_at_s(flows)[-1] <= 20.0
    assert len(flows) < 30


def test_hydra_is_told_whom_and_how_much() -> None:
    first, second = tools_of("guess_by_tool", {"targets": (CAMERA, HUB), "service": "ssh", "port": 22, "tries": 9})
    assert isinstance(first, LoginGuess)
    assert isinstance(second, LoginGuess)
    assert (first.target, first.service, first.port, first.tries) == (CAMERA, "ssh", 22, 9)
    assert second.target == HUB
    assert first.lasts_s == second.lasts_s == 30.0
