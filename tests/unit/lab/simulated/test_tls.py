"""TLS shows the sizes and first bytes that OpenSSL's does, and fails where one side speaks none."""

from __future__ import annotations

import numpy as np

from thingwarden.lab.directory import SERVICES
from thingwarden.lab.simulated.tls import flight_bytes
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address_of, watch

PORT = 8443


async def echo(world: World, stream: Stream) -> None:
    while data := await stream.receive(20.0):
        await stream.send(data)


async def serve(world: World) -> None:
    await world.listen(PORT, echo, is_tls=True)


def converse(*pieces: bytes) -> tuple[Seen, list[bytes]]:
    """What is seen of a client that sends ``pieces`` one after the other, and what it hears."""
    heard: list[bytes] = []

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), PORT, tls_name="server.lan")
        for piece in pieces:
            await stream.send(piece)
            answer = b""
            while len(answer) < len(piece):
                answer += await stream.receive(20.0)
            heard.append(answer)
        await stream.close()

    return watch(client=ask, server=serve), heard


def test_a_session_is_named_and_sized_as_a_real_one() -> None:
    seen, heard = converse(b"x" * 100)
    assert heard == [b"x" * 100]
    packets = seen.of_port(PORT)
    sent = packets.take((packets.dst_port == PORT) & (packets.payload_bytes > 0))
    answered = packets.take((packets.src_port == PORT) & (packets.payload_bytes > 0))
    assert sent.payload_bytes.tolist() == [517, 80, 122, 24]
    assert answered.payload_bytes.tolist()[1:] == [510, 122, 24]
    assert abs(int(answered.payload_bytes[0]) - flight_bytes([*SERVICES, "hub.lan", "client.lan", "server.lan"])) <= 1
    assert seen.flows.service.tolist() == [b"ssl"]


def test_heads_look_like_tls_records_and_hold_no_plaintext() -> None:
    seen, _ = converse(b"GET / HTTP/1.1\r\n\r\n" * 3)
    heads = seen.of_port(PORT).payload_head
    heads = heads[heads.any(axis=1)]
    assert set(heads[:, 0].tolist()) <= {0x14, 0x16, 0x17}
    assert not (heads[:, :3] == np.frombuffer(b"GET", dtype=np.uint8)).all(axis=1).any()


def test_long_data_take_a_header_for_each_record() -> None:
    seen, heard = converse(b"x" * 40_000)
    assert heard == [b"x" * 40_000]
    assert int(seen.flows.orig_bytes[0]) == 517 + 80 + 40_000 + 3 * 22 + 24


def test_a_server_without_tls_makes_the_client_give_up() -> None:
    failed = []

    async def answer_plainly(world: World, stream: Stream) -> None:
        await stream.receive(5.0)
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def serve_plainly(world: World) -> None:
        await world.listen(PORT, answer_plainly)

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        try:
            await world.connect(address_of(1), PORT, tls_name="server.lan")
        except OSError as error:
            failed.append(str(error))

    watch(client=ask, server=serve_plainly)
    assert failed == ["the other side speaks no TLS"]


def test_a_client_without_tls_gets_an_alert() -> None:
    heard = []

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), PORT)
        await stream.send(b"GET / HTTP/1.1\r\n\r\n")
        heard.append(await stream.receive(5.0))
        heard.append(await stream.receive(5.0))

    watch(client=ask, server=serve)
    assert heard[0][:1] == b"\x15"
    assert heard[1] == b""


def test_a_silent_server_lets_the_handshake_time_out() -> None:
    waited = []

    async def be_silent(world: World, stream: Stream) -> None:
        await world.sleep(30.0)

    async def serve_silently(world: World) -> None:
        await world.listen(PORT, be_silent)

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        began_s = world.now_s()
        try:
            await world.connect(address_of(1), PORT, tls_name="server.lan", timeout_s=3.0)
        except TimeoutError:
            waited.append(world.now_s() - began_s)

    watch(client=ask, server=serve_silently)
    assert 2.9 < waited[0] < 3.1


def test_a_finished_stream_still_hears() -> None:
    heard = []

    async def answer_at_the_end(world: World, stream: Stream) -> None:
        while await stream.receive(10.0):
            pass
        await stream.send(b"goodbye")

    async def serve_late(world: World) -> None:
        await world.listen(PORT, answer_at_the_end, is_tls=True)

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), PORT, tls_name="server.lan")
        assert stream.peer == (address_of(1), PORT)
        await stream.send(b"hello")
        await stream.finish()
        heard.append(await stream.receive(5.0))
        stream.abort()

    watch(client=ask, server=serve_late)
    assert heard == [b"goodbye"]


def test_every_name_in_the_certificate_takes_room() -> None:
    assert flight_bytes(["abc", "de"]) - flight_bytes(["abc"]) == 4
    assert 700 < flight_bytes([]) < 900
