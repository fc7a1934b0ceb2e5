"""Commands to a controller."""

from __future__ import annotations

import pytest

from lab_act_builder import lan_address, perform, states_of

PLC = (lan_address("plc"),)


@pytest.mark.parametrize("kind", ["coil", "register", "registers", "mixed"])
def test_writes_are_answered_one_by_one(kind: str) -> None:
    settings = {"targets": PLC, "kind": kind, "count": 20, "period_s": 0.5, "jitter": 0.0, "registers": 10}
    flows = perform("modbus_write", settings)
    assert states_of(flows) == ["SF"]
    # The shortest answer, an exception, has nine bytes; a request at least twelve.
    assert flows.orig_bytes[0] >= 20 * 12
    assert flows.resp_bytes[0] >= 20 * 9
    assert flows.duration_s[0] == pytest.approx(9.5, abs=0.5)


def test_wider_writes_are_longer() -> None:
    one, hundred = (
        perform("modbus_write", {"targets": PLC, "kind": "registers", "registers": count, "count": 10})
        for count in (1, 100)
    )
    assert hundred.orig_bytes[0] > 10 * 200 > one.orig_bytes[0]


def test_connections_are_renewed() -> None:
    settings = {"targets": PLC, "count": 30, "per_connection": 10, "period_s": 0.1}
    assert states_of(perform("modbus_write", settings)) == ["SF"] * 3


def test_search_is_mostly_refused() -> None:
    flows = perform("modbus_scan", {"targets": PLC, "count": 16, "period_s": 0.2})
    assert states_of(flows) == ["SF"]
    assert flows.orig_bytes[0] == 16 * 12
    # Twelve of sixteen functions do not exist there: exceptions of nine bytes.
    assert flows.resp_bytes[0] < 16 * 12
