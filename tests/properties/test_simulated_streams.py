"""Whatever programs send over whatever links, simulated TCP delivers it once and in order, and its packets add up."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address_of, watch

PORT = 9000

LINKS = st.builds(
    Link,
    delay_ms=st.sampled_from([0.0, 2.0, 60.0]),
    jitter_ms=st.sampled_from([0.0, 3.0]),
    loss_ratio=st.sampled_from([0.0, 0.02, 0.1]),
    reorder_ratio=st.sampled_from([0.0, 0.05]),
    rate_mbps=st.sampled_from([0.0, 5.0]),
)
PIECES = st.lists(
    st.tuples(st.integers(1, 40_000) | st.integers(1, 50), st.sampled_from([0.0, 0.001, 0.05, 2.0])), max_size=6
)


def converse(link: Link, asked: list[tuple[int, float]], answered: list[tuple[int, float]], seed: int) -> Seen:
    """Both sides send their pieces at their pace, and check what they hear."""
    heard: dict[str, bytes] = {}

    async def talk(world: World, stream: Stream, pieces: list[tuple[int, float]], name: str) -> None:
        for number, (size_bytes, pause_s) in enumerate(pieces):
            await world.sleep(pause_s)
            await stream.send(bytes((number,)) * size_bytes)
        await stream.finish()
        heard[name] = b""
        while data := await stream.receive(None):
            heard[name] += data
        await stream.close()

    async def serve(world: World) -> None:
        async def answer(own: World, stream: Stream) -> None:
            await talk(own, stream, answered, "server")

        await world.listen(PORT, answer)

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        await talk(world, await world.connect(address_of(1), PORT, timeout_s=120.0), asked, "client")

    condition = Condition(name="drawn", wireless=link)
    seen = watch(400.0, condition=condition, seed=seed, client=ask, server=serve)
    assert heard == {"server": _joined(asked), "client": _joined(answered)}
    return seen


def _joined(pieces: list[tuple[int, float]]) -> bytes:
    return b"".join(bytes((number,)) * size_bytes for number, (size_bytes, _) in enumerate(pieces))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(link=LINKS, asked=PIECES, answered=PIECES, seed=st.integers(0, 1000))
def test_all_that_is_sent_arrives_once_and_in_order(
    link: Link, asked: list[tuple[int, float]], answered: list[tuple[int, float]], seed: int
) -> None:
    seen = converse(link, asked, answered, seed)
    packets = seen.of_port(PORT)
    assert (np.diff(packets.at_s) >= 0).all()
    for is_answer, pieces in ((False, asked), (True, answered)):
        mine = packets.take((packets.src_port == PORT) == is_answer)
        data = mine.take(mine.payload_bytes > 0)
        first_sent = np.unique(data.tcp_seq, return_index=True)[1]
        # What is lost before the capture and sent again is seen once, what is lost behind it twice.
        assert int(data.payload_bytes[first_sent].sum()) == sum(size_bytes for size_bytes, _ in pieces)
        assert int(mine.payload_bytes.max(initial=0)) <= 1448


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=PIECES, answered=PIECES, seed=st.integers(0, 1000))
def test_over_a_plain_link_nothing_is_sent_twice_and_every_flow_ends_well(
    asked: list[tuple[int, float]], answered: list[tuple[int, float]], seed: int
) -> None:
    seen = converse(Link(), asked, answered, seed)
    sent = {False: sum(size for size, _ in asked), True: sum(size for size, _ in answered)}
    packets = seen.of_port(PORT)
    for is_answer, total_bytes in sent.items():
        assert int(packets.payload_bytes[(packets.src_port == PORT) == is_answer].sum()) == total_bytes
    # The history may hold a T all the same: an acknowledgement can overtake data of the same microsecond.
    assert [state for state, _ in seen.states(PORT)] == ["SF"]
