"""Controllers and their panel, sensors with CoAP, monitors and their ward."""

from __future__ import annotations

import numpy as np
import pytest

from play_builder import build_hosts, contacts, run_hosts


def test_panel_polls_the_controller_every_second_in_one_connection() -> None:
    flows = run_hosts(build_hosts(["plc", "hmi"]), duration_s=500.0)
    modbus = flows.take(np.flatnonzero(flows.resp_port == 502))
    assert [contact[2] for contact in contacts(modbus)] == ["S1"]
    assert 400 < modbus.orig_packets[0] / 2 < 560


def test_panel_archives_and_the_historian_passes_it_on() -> None:
    seen = contacts(run_hosts(build_hosts(["hmi", "historian"]), duration_s=900.0))
    assert [contact[1] for contact in seen].count(8086) > 30
    assert sum(contact[1:] == (443, "SF", "ssl") for contact in seen) > 5


def test_controllers_differ_between_makers() -> None:
    ports = set()
    for seed in range(6):
        flows = run_hosts(build_hosts(["plc", "hmi"], seed=seed, breadth=1.0), duration_s=300.0)
        inside = flows.resp_address[:, 1] == (0xFFFF << 32 | 0x0A4D000A)
        ports |= set(flows.resp_port[inside & (flows.resp_bytes > 0)].tolist())
    assert len(ports) >= 3


@pytest.mark.parametrize("hub", [True, False])
def test_coap_sensor_reports_and_answers(hub: bool) -> None:
    flows = run_hosts(build_hosts(["coap-sensor", *(["hub"] if hub else [])]), duration_s=600.0)
    coap = contacts(flows.take(np.flatnonzero(flows.resp_port == 5683)))
    assert {contact[2] for contact in coap} == {"SF"}
    assert len(coap) > (40 if hub else 15)


def test_monitor_observes_every_second() -> None:
    flows = run_hosts(build_hosts(["monitor", "ward-server"]), duration_s=300.0)
    records = flows.take(np.flatnonzero(flows.resp_port == 2575))
    assert len(records) == 1
    assert 40_000 < records.orig_bytes[0] < 200_000
    assert 250 < records.resp_packets[0] < 900
