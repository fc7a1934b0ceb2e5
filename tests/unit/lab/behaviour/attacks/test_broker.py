"""What can be done to a broker."""

from __future__ import annotations

import pytest

from lab_act_builder import lan_address, perform, states_of

HUB = (lan_address("hub"),)


def test_messages_without_end_share_one_session() -> None:
    flows = perform("mqtt_flood", {"targets": HUB, "count": 300, "per_s": 100.0, "payload_bytes": 500})
    assert flows.service.tolist() == [b"mqtt"]
    assert flows.orig_bytes[0] > 300 * 500
    assert flows.duration_s[0] == pytest.approx(3.0, rel=0.35)


def test_acknowledged_messages_bring_answers() -> None:
    plain, sure = (perform("mqtt_flood", {"targets": HUB, "count": 100, "qos": qos}) for qos in (0, 1))
    assert plain.resp_bytes[0] == 4
    assert sure.resp_bytes[0] == 4 + 4 * 100


@pytest.mark.parametrize(("is_abrupt", "state"), [(True, "RSTO"), (False, "SF")])
def test_sessions_without_end(is_abrupt: bool, state: str) -> None:
    flows = perform("mqtt_connects", {"targets": HUB, "count": 60, "is_abrupt": is_abrupt})
    assert states_of(flows) == [state] * 60
    assert set(flows.service.tolist()) == {b"mqtt"}


def test_sessions_can_be_held() -> None:
    flows = perform("mqtt_connects", {"targets": HUB, "count": 20, "hold_s": 8.0})
    assert flows.duration_s.min() > 7.9


def test_eavesdropper_stays_and_says_little() -> None:
    flows = perform("mqtt_eavesdrop", {"targets": HUB}, lasts_s=200.0)
    assert flows.duration_s[0] > 195.0
    assert flows.orig_bytes[0] < 200


def test_retained_rubbish_is_large() -> None:
    flows = perform("mqtt_retain", {"targets": HUB, "count": 5, "per_s": 2.0, "payload_bytes": 100_000})
    assert flows.orig_bytes[0] > 500_000
