"""Transfers of many segments: whole, in order, as fast as the link, acknowledged as a busy program does."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address_of, watch

PORT = 9000
MSS_BYTES = 1448


def transfer(size_bytes: int, condition: Condition | str = "wired", duration_s: float = 60.0) -> tuple[Seen, float]:
    """What is seen of one upload, and how long it took until all had been read."""
    took_s = []
    data = bytes(range(256)) * (size_bytes // 256 + 1)

    async def take(world: World, stream: Stream) -> None:
        heard = b""
        while piece := await stream.receive(60.0):
            heard += piece
        assert heard == data[:size_bytes]
        took_s.append(world.now_s() - 1.0)

    async def serve(world: World) -> None:
        await world.listen(PORT, take)

    async def give(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), PORT)
        await stream.send(data[:size_bytes])
        await stream.close()

    seen = watch(duration_s, condition=condition, client=give, server=serve)
    assert len(took_s) == 1
    return seen, took_s[0]


@pytest.mark.parametrize("size_bytes", [1449, 10_000, 131_072, 131_073, 500_000])
def test_all_bytes_arrive_once_and_in_order(size_bytes: int) -> None:
    seen, _ = transfer(size_bytes)
    assert int(seen.flows.orig_bytes[0]) == size_bytes
    packets = seen.of_port(PORT)
    data = packets.take((packets.dst_port == PORT) & (packets.payload_bytes > 0))
    assert int(data.payload_bytes.sum()) == size_bytes
    assert int(data.payload_bytes.max()) == MSS_BYTES
    assert (np.diff(data.tcp_seq.astype(np.int64) - int(data.tcp_seq[0])) % 2**32 > 0).all()
    assert bytes(data.payload_head[0][:8]) == bytes(range(8))
    assert seen.states(PORT) == [("SF", "ShADaFf")]


def test_a_busy_receiver_acknowledges_many_segments_at_once() -> None:
    seen, _ = transfer(1_000_000)
    sent_count, acknowledged_count = int(seen.flows.orig_packets[0]), int(seen.flows.resp_packets[0])
    assert 0.02 < acknowledged_count / sent_count < 0.3


def test_a_receiver_that_keeps_up_acknowledges_every_second_segment() -> None:
    seen, _ = transfer(500_000, Condition(name="slow", wireless=Link(delay_ms=5.0, rate_mbps=10.0)))
    sent_count, acknowledged_count = int(seen.flows.orig_packets[0]), int(seen.flows.resp_packets[0])
    assert 0.4 < acknowledged_count / sent_count < 0.7


def test_a_transfer_takes_as_long_as_the_slowest_link_needs() -> None:
    _, took_s = transfer(500_000, Condition(name="slow", wireless=Link(rate_mbps=4.0)))
    assert took_s == pytest.approx(500_000 * 8 / 4e6, rel=0.15)


def test_the_window_opens_round_by_round_over_a_long_way() -> None:
    seen, took_s = transfer(200_000, Condition(name="far", wireless=Link(delay_ms=50.0)))
    assert 0.7 < took_s < 1.6
    packets = seen.of_port(PORT)
    at_s = packets.at_s[(packets.dst_port == PORT) & (packets.payload_bytes > 0)]
    first_round = at_s < at_s[0] + 0.1
    assert int(first_round.sum()) == 10


def test_lost_segments_come_again_and_gaps_are_reported() -> None:
    seen, _ = transfer(500_000, Condition(name="lossy", wireless=Link(delay_ms=5.0, loss_ratio=0.03)), 200.0)
    packets = seen.of_port(PORT)
    data = packets.take((packets.dst_port == PORT) & (packets.payload_bytes > 0))
    assert len(data) > len(np.unique(data.tcp_seq)) > 300
    reports = packets.take((packets.src_port == PORT) & (packets.payload_bytes == 0))
    assert (reports.ip_bytes == 64).any()
    assert "T" in seen.states(PORT)[0][1]
