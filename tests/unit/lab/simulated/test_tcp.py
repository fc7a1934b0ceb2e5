"""TCP looks at the capture as a Linux kernel's does: segments, acknowledgements, ends, resets, retries."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.packet import PacketBatch
from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.timeline import Cut, Planned, PowerOff, PowerOn, Restore
from thingwarden.lab.world import Behaviour, Handler, Stream, World
from wire_builder import address6_of, address_of, watch

PORT = 9000
SERVER = address_of(1)


def serving(handler: Handler, port: int = PORT) -> Behaviour:
    async def live(world: World) -> None:
        await world.listen(port, handler)

    return live


async def answer_once(world: World, stream: Stream) -> None:
    await stream.receive(10.0)
    await world.sleep(0.005)
    await stream.send(b"y" * 300)


async def reach(world: World) -> Stream:
    """A connection to the server, once it listens."""
    await world.sleep(1.0 - world.now_s())
    return await world.connect(SERVER, PORT, timeout_s=60.0)


def asking(question: bytes = b"x" * 100, address: str = SERVER) -> Behaviour:
    async def live(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address, PORT)
        await stream.send(question)
        while await stream.receive(10.0):
            pass
        await stream.close()

    return live


def test_a_short_dialogue_has_the_history_and_sizes_that_a_kernel_gives_it() -> None:
    seen = watch(client=asking(), server=serving(answer_once))
    assert seen.states(PORT) == [("SF", "ShADadfF")]
    assert seen.flags(PORT) == ["S", "<SA", "A", "PA", "<A", "<PA", "A", "<FA", "FA", "<A"]
    packets = seen.of_port(PORT)
    assert packets.ip_bytes.tolist() == [60, 60, 52, 152, 52, 352, 52, 52, 52, 52]
    assert (packets.tcp_receive_bytes > 0).all()
    assert (int(seen.flows.orig_bytes[0]), int(seen.flows.resp_bytes[0])) == (100, 300)


def test_over_ipv6_headers_are_longer() -> None:
    seen = watch(client=asking(address=address6_of(1)), server=serving(answer_once))
    assert seen.of_port(PORT).ip_bytes.tolist()[:4] == [80, 80, 72, 172]


def test_acknowledgements_wait_once_both_sides_have_spoken() -> None:
    async def converse(world: World, stream: Stream) -> None:
        for _ in range(3):
            await stream.receive(10.0)
            await stream.send(b"pong")
        await stream.receive(10.0)
        await world.sleep(1.0)

    async def ask(world: World) -> None:
        stream = await reach(world)
        for _ in range(3):
            await stream.send(b"ping")
            await stream.receive(10.0)
            await world.sleep(0.002)
        await stream.send(b"and nothing more")
        await world.sleep(5.0)
        await stream.close()

    seen = watch(client=ask, server=serving(converse))
    flags, at_s = seen.flags(PORT), seen.moments_s(PORT)
    # The first question is acknowledged at once, later ones along with their answers.
    assert flags[:5] == ["S", "<SA", "A", "PA", "<A"]
    assert flags[5:12] == ["<PA", "A", "PA", "<PA", "PA", "<PA", "PA"]
    late = flags.index("<A", 11)
    assert 0.039 < at_s[late] - at_s[late - 1] < 0.046


def test_small_data_is_held_back_while_small_data_is_under_way() -> None:
    async def listen(world: World, stream: Stream) -> None:
        await stream.receive(10.0)
        await stream.send(b"ready")
        while await stream.receive(10.0):
            pass

    async def ask(world: World) -> None:
        stream = await reach(world)
        await stream.send(b"hello")
        await stream.receive(10.0)
        for piece in (b"one", b"two", b"three"):
            await stream.send(piece)
        await stream.close()

    seen = watch(client=ask, server=serving(listen))
    packets = seen.of_port(PORT)
    sent = packets.payload_bytes[packets.dst_port == PORT]
    assert sent[sent > 0].tolist() == [5, 3, 8]
    assert "FPA" in seen.flags(PORT)


def test_a_server_closes_first_or_the_client_does() -> None:
    async def wait_for_the_end(world: World, stream: Stream) -> None:
        while await stream.receive(10.0):
            pass

    async def say_and_leave(world: World) -> None:
        stream = await reach(world)
        await stream.send(b"x" * 40)
        await stream.close()

    assert watch(client=say_and_leave, server=serving(wait_for_the_end)).states(PORT) == [("SF", "ShADaFf")]
    assert watch(client=asking(), server=serving(answer_once)).states(PORT) == [("SF", "ShADadfF")]


def test_half_closed_connections_still_carry_data_the_other_way() -> None:
    async def answer_after_the_end(world: World, stream: Stream) -> None:
        while await stream.receive(10.0):
            pass
        await world.sleep(0.2)
        await stream.send(b"y" * 50)

    heard = []

    async def finish_first(world: World) -> None:
        stream = await reach(world)
        await stream.send(b"x")
        await stream.finish()
        heard.append(await stream.receive(10.0))
        heard.append(await stream.receive(10.0))
        await stream.close()

    seen = watch(client=finish_first, server=serving(answer_after_the_end))
    assert heard == [b"y" * 50, b""]
    assert seen.states(PORT) == [("SF", "ShADaFdf")]


def test_an_abort_is_a_reset_on_both_sides() -> None:
    errors = []

    async def listen(world: World, stream: Stream) -> None:
        try:
            while await stream.receive(10.0):
                pass
        except OSError as error:
            errors.append(type(error))

    async def leave_abruptly(world: World) -> None:
        stream = await reach(world)
        await stream.send(b"x" * 40)
        await world.sleep(0.1)
        stream.abort()
        try:
            await stream.send(b"more")
        except OSError:
            errors.append(OSError)

    seen = watch(client=leave_abruptly, server=serving(listen))
    assert seen.states(PORT) == [("RSTO", "ShADaR")]
    assert sorted(error.__name__ for error in errors) == ["ConnectionResetError", "OSError"]


def test_data_to_a_connection_long_closed_is_answered_by_a_reset() -> None:
    failed = []

    async def leave_at_once(world: World, stream: Stream) -> None:
        return

    async def keep_talking(world: World) -> None:
        stream = await reach(world)
        await world.sleep(8.0)
        await stream.send(b"anybody?")
        await world.sleep(1.0)
        try:
            await stream.send(b"anybody at all?")
        except ConnectionResetError:
            failed.append(world.now_s())

    seen = watch(client=keep_talking, server=serving(leave_at_once))
    assert seen.states(PORT) == [("RSTR", "ShAfDr")]
    assert failed


def test_a_dialogue_over_a_lossy_link_is_whole_and_shows_retransmissions() -> None:
    heard = []

    async def converse(world: World, stream: Stream) -> None:
        while data := await stream.receive(60.0):
            await stream.send(data)

    async def ask(world: World) -> None:
        stream = await reach(world)
        for number in range(100):
            await stream.send(number.to_bytes(4, "big"))
            heard.append(int.from_bytes(await stream.receive(60.0), "big"))
        await stream.close()

    lossy = Condition(name="lossy", wireless=Link(delay_ms=2.0, loss_ratio=0.1))
    seen = watch(120.0, condition=lossy, client=ask, server=serving(converse))
    assert heard == list(range(100))
    _, history = seen.states(PORT)[-1]
    assert "T" in history or "t" in history
    assert longest_pause_s(seen.of_port(PORT)) > 0.2


def longest_pause_s(packets: PacketBatch) -> float:
    return float(np.diff(packets.at_s).max())


def test_delay_shows_in_the_duration() -> None:
    slow = Condition(name="slow", wireless=Link(delay_ms=50.0))
    quick = watch(client=asking(), server=serving(answer_once)).flows.duration_s[0]
    late = watch(client=asking(), server=serving(answer_once), condition=slow).flows.duration_s[0]
    assert quick < 0.05
    assert 0.3 < late < 0.7


def test_a_host_without_power_answers_nothing_and_its_peer_tries_again_and_again() -> None:
    outcome = []

    async def listen(world: World, stream: Stream) -> None:
        while await stream.receive(None):
            pass

    async def report(world: World) -> None:
        stream = await reach(world)
        while True:
            await stream.send(b"x" * 10)
            try:
                await stream.receive(5.0)
            except TimeoutError:
                outcome.append("silence")
            except OSError as error:
                outcome.append(type(error).__name__)
                return

    planned = (Planned(at_s=3.0, event="cut-1", action=PowerOff(host="server")),)
    seen = watch(25.0, client=report, server=serving(listen), planned=planned)
    assert set(outcome) == {"silence"}
    sent_s = seen.moments_s(PORT)
    again_s = sent_s[sent_s > 5.0]
    pauses_s = np.diff(again_s)
    assert len(again_s) >= 5
    assert pauses_s[0] == pytest.approx(0.2, abs=0.05)
    assert pauses_s[1] == pytest.approx(0.4, abs=0.05)


def test_a_host_that_is_back_resets_connections_it_no_longer_knows() -> None:
    outcome = []

    async def listen(world: World, stream: Stream) -> None:
        while await stream.receive(None):
            pass

    async def report(world: World) -> None:
        stream = await reach(world)
        try:
            while True:
                await stream.send(b"x" * 10)
                await world.sleep(1.0)
        except OSError as error:
            outcome.append((type(error).__name__, world.now_s()))

    planned = (
        Planned(at_s=3.5, event="cut-1", action=PowerOff(host="server")),
        Planned(at_s=9.0, event="cut-1", action=PowerOn(host="server")),
    )
    seen = watch(40.0, client=report, server=serving(listen), planned=planned)
    assert [name for name, _ in outcome] == ["ConnectionResetError"]
    assert seen.flags(PORT)[-1] == "<R"


def test_what_waits_during_an_outage_arrives_after_it() -> None:
    heard = []

    async def listen(world: World, stream: Stream) -> None:
        while data := await stream.receive(None):
            heard.append((data, world.now_s()))

    async def report(world: World) -> None:
        stream = await reach(world)
        await world.sleep(4.0 - world.now_s())
        for piece in (b"a" * 10, b"b" * 4000):
            await stream.send(piece)

    planned = (
        Planned(at_s=3.0, event="outage-1", action=Cut(target="server")),
        Planned(at_s=8.0, event="outage-1", action=Restore(target="server")),
    )
    watch(30.0, client=report, server=serving(listen), planned=planned)
    assert b"".join(data for data, _ in heard) == b"a" * 10 + b"b" * 4000
    assert all(at_s > 8.0 for _, at_s in heard)


def test_receiving_gives_up_after_its_timeout() -> None:
    waited = []

    async def be_silent(world: World, stream: Stream) -> None:
        await world.sleep(10.0)

    async def ask(world: World) -> None:
        stream = await reach(world)
        began_s = world.now_s()
        try:
            await stream.receive(2.5)
        except TimeoutError:
            waited.append(world.now_s() - began_s)

    watch(client=ask, server=serving(be_silent))
    assert waited == [pytest.approx(2.5, abs=1e-6)]


def test_sending_after_the_end_is_an_error() -> None:
    failed = []

    async def ask(world: World) -> None:
        stream = await reach(world)
        await stream.finish()
        try:
            await stream.send(b"more")
        except OSError as error:
            failed.append(type(error))

    watch(client=ask, server=serving(answer_once))
    assert failed == [BrokenPipeError]


def test_a_peer_on_the_internet_sees_the_gateway() -> None:
    peers: list[tuple[str, int]] = []

    async def note(world: World, stream: Stream) -> None:
        peers.append(stream.peer)

    async def call(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect("203.0.113.10", 8081)
        await stream.close()
        stream = await world.connect("2001:db8:100::a", 8081)
        await stream.close()

    seen = watch(client=call, internet=serving(note, 8081))
    assert peers[0][0] == "192.0.2.2"
    assert peers[1][0] == address6_of(0)
    assert int(seen.flows.orig_address[0, 1]) == 0xFFFF_0A4D_000A


def test_a_stranger_reaches_a_device_by_its_own_address() -> None:
    peers: list[tuple[str, int]] = []

    async def note(world: World, stream: Stream) -> None:
        peers.append(stream.peer)
        await stream.send(b"welcome")

    async def call(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(0), 23)
        await stream.receive(5.0)
        await stream.close()

    seen = watch(camera=serving(note, 23), internet=call)
    assert peers[0][0] == "192.0.2.1"
    assert seen.states(23)[0][0] == "SF"


def test_a_connection_within_one_host_crosses_no_wire() -> None:
    heard = []

    async def talk_to_itself(world: World) -> None:
        await world.listen(PORT, answer_once)
        stream = await world.connect(world.me.address, PORT)
        await stream.send(b"x")
        heard.append(await stream.receive(5.0))

    seen = watch(alone=talk_to_itself)
    assert heard == [b"y" * 300]
    assert len(seen.packets) == 0
