"""The speed measurement meters what it made, all of it."""

from __future__ import annotations

from thingwarden.bench.metering_speed import measure_metering_speed, render


def test_all_kinds_of_traffic_are_metered() -> None:
    mixed, transfer, flood = measure_metering_speed(3000)
    assert all(each.packet_count >= 3000 and each.packets_per_s > 0 for each in (mixed, transfer, flood))
    assert flood.flow_count == flood.packet_count
    assert transfer.flow_count == 3
    assert mixed.flow_count == 5 * mixed.packet_count // 22
    assert "| SYN flood | 3,000 | 3,000 |" in render([mixed, transfer, flood])
