"""Opening a connection succeeds, is refused, or fails in silence, as each does on Linux."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Cut, Planned, PowerOff
from thingwarden.lab.world import Behaviour, Stream, World
from wire_builder import Seen, address_of, watch

PORT = 9000


async def be_still(world: World) -> None:
    """A host that does nothing."""


async def accept(world: World) -> None:
    """A host that lets everybody in."""

    async def hold(own: World, stream: Stream) -> None:
        await stream.receive(None)

    await world.listen(PORT, hold)


def calling(outcome: list[tuple[str, float]], address: str, timeout_s: float, at_s: float = 1.0) -> Behaviour:
    async def live(world: World) -> None:
        await world.sleep(at_s)
        began_s = world.now_s()
        try:
            await world.connect(address, PORT, timeout_s=timeout_s)
            outcome.append(("connected", world.now_s() - began_s))
        except OSError as error:
            outcome.append((type(error).__name__, world.now_s() - began_s))

    return live


def call(address: str, timeout_s: float = 4.0, at_s: float = 1.0, **more: object) -> tuple[Seen, str, float]:
    """What is seen of one call from host 0, how it ended, and after how long."""
    outcome: list[tuple[str, float]] = []
    parts = {"client": calling(outcome, address, timeout_s, at_s), "server": be_still, **more}
    seen = watch(40.0, **parts)  # type: ignore[arg-type]
    name, span_s = outcome[0]
    return seen, name, span_s


def test_a_closed_port_refuses_at_once() -> None:
    seen, name, span_s = call(address_of(1))
    assert (name, seen.states(PORT)) == ("ConnectionRefusedError", [("REJ", "Sr")])
    assert seen.of_port(PORT).ip_bytes.tolist() == [60, 40]
    assert span_s < 0.01


def test_a_missing_neighbour_costs_no_packet_and_three_seconds() -> None:
    seen, name, span_s = call("10.77.0.200")
    assert (name, len(seen.of_port(PORT))) == ("OSError", 0)
    assert span_s == pytest.approx(3.07, abs=0.05)


def test_a_missing_host_beyond_the_gateway_is_asked_again_and_again() -> None:
    seen, name, span_s = call(SERVICES["gone.example"].address, timeout_s=12.0)
    assert name == "TimeoutError"
    assert span_s == pytest.approx(12.0)
    assert seen.flags(PORT) == ["S"] * 8
    assert np.round(np.diff(seen.moments_s(PORT))).tolist() == [1, 1, 1, 1, 1, 2, 4]
    assert seen.states(PORT)[0] == ("S0", "S")


def test_a_host_that_has_just_lost_its_power_is_asked_in_vain() -> None:
    planned = (Planned(at_s=2.0, event="cut-1", action=PowerOff(host="server")),)
    seen, name, _ = call(address_of(1), timeout_s=2.5, at_s=5.0, server=accept, planned=planned)
    assert (name, seen.flags(PORT)) == ("TimeoutError", ["S"] * 3)


def test_a_silent_cut_swallows_what_has_been_seen() -> None:
    planned = (Planned(at_s=0.5, event="cut-1", action=Cut(target="uplink")),)
    seen, name, _ = call("203.0.113.10", timeout_s=2.5, planned=planned)
    assert (name, seen.flags(PORT)) == ("TimeoutError", ["S"] * 3)


def test_a_refusing_cut_answers_by_a_reset() -> None:
    planned = (Planned(at_s=0.5, event="cut-1", action=Cut(target="server", mode="refusing")),)
    seen, name, _ = call(address_of(1), server=accept, planned=planned)
    assert (name, seen.states(PORT)) == ("ConnectionRefusedError", [("REJ", "Sr")])


def test_lost_handshakes_are_tried_again() -> None:
    lossy = Condition(name="lossy", wireless=Link(loss_ratio=0.15))
    outcomes: list[tuple[str, float]] = []

    async def call_often(world: World) -> None:
        await world.sleep(1.0)
        for _ in range(30):
            await calling(outcomes, address_of(1), 30.0, 0.0)(world)

    watch(400.0, condition=lossy, client=call_often, server=accept)
    spans_s = np.array([span_s for _, span_s in outcomes])
    assert {name for name, _ in outcomes} == {"connected"}
    assert len(outcomes) == 30
    assert (spans_s < 0.5).any()
    assert (spans_s > 1.0).any()


def test_an_address_outside_the_lab_is_refused() -> None:
    with pytest.raises(RequestError, match="outside the lab"):
        call("8.8.8.8")


def test_a_chosen_source_port_is_used() -> None:
    async def call_from(world: World) -> None:
        await world.sleep(1.0)
        await world.connect(address_of(1), PORT, source_port=5555)

    seen = watch(client=call_from, server=accept)
    assert set(seen.of_port(PORT).src_port.tolist()) == {5555, PORT}
