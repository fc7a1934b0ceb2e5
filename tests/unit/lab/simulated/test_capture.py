"""A capture hands packets out in order, as late as it must; its meter labels flows by what caused them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from thingwarden.domain.flow import MILESTONE_DTYPES, FlowBatch
from thingwarden.domain.packet import PacketBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.packet_file import PacketFile
from thingwarden.lab.simulated.capture import (
    ROW,
    Capture,
    Detour,
    LabelBook,
    Meter,
    Rows,
    pack_lane,
    pack_rest,
    packets_from_rows,
)
from thingwarden.lab.simulated.network import address_words
from thingwarden.lab.world import Stream, World
from wire_builder import address_of, watch

BEGAN_AT_S = 1_767_225_600.0
VICTIM, GATEWAY, STRANGER = "10.77.0.10", "10.77.0.1", "203.0.113.9"
VICTIM_MAC, GATEWAY_MAC, THIEF_MAC = 0x0277_0000_0110, 0x0277_0000_0001, 0x0277_0000_0166


def packet(at_s: float, source: str, target: str, *, label: int = 0, port: int = 40000, macs: tuple[int, int]) -> bytes:
    lane = pack_lane(*address_words(source), *address_words(target), *macs, port, 53, 17, label)
    return lane + pack_rest(at_s, 60, 32, 0, 0, 0, 1, b"\x12\x34\x01")


def question(at_s: float, *, label: int = 0, port: int = 40000) -> bytes:
    return packet(at_s, VICTIM, STRANGER, label=label, port=port, macs=(VICTIM_MAC, GATEWAY_MAC))


def capture_of(*packets: bytes) -> Capture:
    capture = Capture(np.random.default_rng(1))
    capture.rows.extend(packets)
    return capture


def test_packets_come_out_in_order_and_not_before_everything_earlier_is_known() -> None:
    capture = capture_of(question(3.0), question(1.0), question(2.0))
    assert capture.take_until(2.5)["at_s"].tolist() == [1.0, 2.0]
    capture.rows.append(question(2.7))
    assert capture.take_until(4.0)["at_s"].tolist() == [2.7, 3.0]


def test_packets_of_one_instant_keep_the_order_in_which_they_were_noted() -> None:
    capture = capture_of(*(question(1.0, port=port) for port in (5, 3, 4)))
    capture.add_block(np.frombuffer(question(1.0, port=9), dtype=ROW))
    ports = capture.take_until(2.0)["src_port"].tolist()
    assert sorted(ports) == [3, 4, 5, 9]
    assert [port for port in ports if port != 9] == [5, 3, 4]


def test_rows_become_the_columns_that_metering_reads() -> None:
    packets = packets_from_rows(capture_of(question(1.25)).take_until(2.0), BEGAN_AT_S)
    assert packets.at_s.tolist() == [BEGAN_AT_S + 1.25]
    assert (int(packets.ip_bytes[0]), int(packets.payload_bytes[0]), int(packets.dst_port[0])) == (60, 32, 53)
    assert int(packets.src_address[0, 1]) == 0xFFFF_0A4D_000A
    assert (int(packets.src_mac[0]), int(packets.dst_mac[0])) == (VICTIM_MAC, GATEWAY_MAC)
    assert bytes(packets.payload_head[0][:4]) == b"\x12\x34\x01\0"


def test_a_flow_is_labelled_by_its_first_packet_wherever_the_capture_is_cut() -> None:
    book = LabelBook()
    number = book.add(AttackClass.C2, b"c2:beacon-1")
    capture = capture_of(question(1.0, label=number), question(2.0), question(3.0, port=41000), question(90.0))
    meter = Meter(book, BEGAN_AT_S)
    batches = [meter.push(capture.take_until(at_s)) for at_s in (1.5, 2.5, 50.0, 100.0)]
    flows = FlowBatch.concatenate([*batches, meter.finish()])
    flows = flows.take(np.argsort(flows.started_at_s))
    assert flows.labels is not None
    assert flows.labels.malicious.tolist() == [1, 0, 0]
    assert flows.labels.attack_class.tolist() == [CLASS_INDEX[AttackClass.C2]] + 2 * [CLASS_INDEX[AttackClass.BENIGN]]
    assert flows.labels.detail.tolist() == [b"c2:beacon-1", b"benign", b"benign"]


def test_answers_belong_to_the_flow_that_was_labelled() -> None:
    book = LabelBook()
    number = book.add(AttackClass.SCAN, b"scan:scan-1")
    answer = pack_lane(*address_words(STRANGER), *address_words(VICTIM), GATEWAY_MAC, VICTIM_MAC, 53, 40000, 17, 0)
    capture = capture_of(question(1.0, label=number), answer + pack_rest(1.1, 60, 32, 0, 0, 0, 1, b""))
    meter = Meter(book, BEGAN_AT_S)
    meter.push(capture.take_until(2.0))
    flows = meter.finish()
    assert flows.labels is not None
    assert (len(flows), flows.labels.malicious.tolist()) == (1, [1])


def _seen_macs(rows: Rows) -> list[tuple[int, int]]:
    return list(zip(rows["src_mac"].tolist(), rows["dst_mac"].tolist(), strict=True))


def test_a_detour_shows_packets_twice_while_it_lasts() -> None:
    detour = Detour(
        begins_s=5.0,
        ends_s=15.0,
        victim=address_words(VICTIM),
        victim_mac=VICTIM_MAC,
        pretended_mac=GATEWAY_MAC,
        through_mac=THIEF_MAC,
        label=1,
    )
    bystander = packet(10.0, "10.77.0.12", STRANGER, macs=(0x02, GATEWAY_MAC))
    answer = packet(11.0, STRANGER, VICTIM, macs=(GATEWAY_MAC, VICTIM_MAC))
    capture = capture_of(question(1.0), question(10.0), bystander, answer, question(20.0))
    capture.detours.append(detour)
    rows = capture.take_until(30.0)
    assert np.round(rows["at_s"], 3).tolist() == [1.0, 10.0, 10.0, 10.0, 11.0, 11.0, 20.0]
    assert _seen_macs(rows[rows["label"] == 1]) == [
        (VICTIM_MAC, THIEF_MAC),
        (THIEF_MAC, GATEWAY_MAC),
        (GATEWAY_MAC, THIEF_MAC),
        (THIEF_MAC, VICTIM_MAC),
    ]
    assert not capture.detours


def test_a_packet_kept_for_later_takes_a_detour_once() -> None:
    capture = capture_of(question(10.0))
    words = address_words(VICTIM)
    capture.detours.append(
        Detour(
            begins_s=5.0,
            ends_s=99.0,
            victim=words,
            victim_mac=VICTIM_MAC,
            pretended_mac=GATEWAY_MAC,
            through_mac=THIEF_MAC,
            label=1,
        )
    )
    assert len(capture.take_until(9.0)) == 0
    assert len(capture.take_until(11.0)) == 2


@pytest.fixture(scope="module")
def recorded() -> tuple[PacketBatch, FlowBatch]:
    """What is seen of a host that talks over TCP, TLS, UDP, to groups and to closed ports, by both versions of IP."""

    async def serve(world: World) -> None:
        async def echo(own: World, stream: Stream) -> None:
            while data := await stream.receive(5.0):
                await stream.send(data)

        await world.listen(80, echo)
        await world.listen(443, echo, is_tls=True)

    async def talk(world: World) -> None:
        await world.sleep(1.0)
        for address in (address_of(1), "2001:db8:77::b"):
            for port, name in ((80, ""), (443, "server.lan")):
                stream = await world.connect(address, port, tls_name=name)
                await stream.send(b"x" * 5000)
                await stream.receive(5.0)
                await stream.close()
        for group, port, is_v6 in (("224.0.0.251", 5353, False), ("ff02::fb", 5353, True)):
            socket = await world.open_datagrams(port, (group,), is_v6=is_v6)
            await socket.send(group, port, b"m" * 60)
        closed = await world.open_datagrams()
        await closed.send(address_of(1), 1000, b"knock")

    seen = watch(client=talk, server=serve)
    return seen.packets, seen.flows


def test_written_as_pcap_and_read_again_it_gives_the_same_flows(
    recorded: tuple[PacketBatch, FlowBatch], tmp_path: Path
) -> None:
    packets, flows = recorded
    # A capture file made of columns has no extension headers, of which membership reports have one.
    packets, flows = packets.take(packets.src_port != 143), flows.take(flows.orig_port != 143)
    path = tmp_path / "capture.pcap"
    with path.open("wb") as sink:
        PacketFile(sink, 192).write(packets)
    again = FlowBatch.concatenate(list(PcapSource(path).batches()))
    assert len(again) == len(flows) > 10
    here, there = (_sorted(each) for each in (flows, again))
    for field in fields(FlowBatch):
        if field.name in ("labels", "is_timed", "uid", "started_at_s", "duration_s", "milestones"):
            continue
        assert np.array_equal(getattr(here, field.name), getattr(there, field.name)), field.name
    for name in ("started_at_s", "duration_s"):
        assert np.allclose(getattr(here, name), getattr(there, name), atol=2e-6, equal_nan=True), name
    assert here.milestones is not None and there.milestones is not None and len(here.milestones) > 5
    for name in MILESTONE_DTYPES:
        one, other = getattr(here.milestones, name), getattr(there.milestones, name)
        assert np.allclose(one, other, atol=2e-6), name


def _sorted(flows: FlowBatch) -> FlowBatch:
    keys = (flows.orig_port, flows.resp_port, flows.proto, flows.started_at_s.round(4))
    rows: npt.NDArray[np.int64] = np.lexsort(keys)
    return flows.take(rows)
