"""hydra's guesses: dialogues of each service, several at a time, no more than told."""

from __future__ import annotations

import dataclasses

import pytest

from thingwarden.lab.behaviour.protocol.login import ssh_server, telnet_server
from thingwarden.lab.tool import LoginGuess
from thingwarden.lab.world import Handler, Stream, World
from wire_builder import Seen, address_of, watch

GUESS = LoginGuess(target=address_of(1), service="http", port=80, tries=12, parallel=4, lasts_s=60.0)


def guess(tool: LoginGuess, handler: Handler | None, duration_s: float = 100.0) -> Seen:
    async def attack(world: World) -> None:
        await world.sleep(1.0)
        await world.use(tool)

    async def serve(world: World) -> None:
        if handler is not None:
            await world.listen(tool.port, handler)

    return watch(duration_s, attacker=attack, target=serve)


async def deny(world: World, stream: Stream) -> None:
    """HTTP that knows nobody."""
    await stream.receive(20.0)
    await world.sleep(0.05)
    await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")


def test_each_password_over_http_takes_a_connection() -> None:
    seen = guess(GUESS, deny)
    assert len(seen.states(80)) == 12
    assert set(seen.flows.service.tolist()) == {b"http"}
    began_s = sorted(seen.flows.started_at_s.tolist())
    assert began_s[3] - began_s[0] < 0.01


def test_telnet_is_asked_with_options_and_patience() -> None:
    seen = guess(dataclasses.replace(GUESS, service="telnet", port=23), telnet_server("camera"))
    assert len(seen.states(23)) == 4
    sizes = seen.of_port(23).payload_bytes.tolist()
    assert sizes.count(3) == 20
    assert sizes.count(6) == 4


def test_ssh_breaks_off_at_the_key_exchange() -> None:
    seen = guess(dataclasses.replace(GUESS, service="ssh", port=22), ssh_server())
    assert seen.flows.service.tolist() == [b"ssh"] * 12


def test_ftp_asks_user_and_password_on_one_connection() -> None:
    heard: list[bytes] = []

    async def ftp(world: World, stream: Stream) -> None:
        await stream.send(b"220 ready\r\n")
        while line := await stream.receive(30.0):
            heard.append(line[:4])
            await stream.send(b"331 password\r\n" if line.startswith(b"USER") else b"530 no\r\n")

    guess(dataclasses.replace(GUESS, service="ftp", port=21), ftp)
    assert heard.count(b"USER") == heard.count(b"PASS") == 12


@pytest.mark.parametrize("lasts_s", [5.0, 60.0])
def test_a_closed_door_ends_it(lasts_s: float) -> None:
    seen = guess(dataclasses.replace(GUESS, lasts_s=lasts_s), None)
    assert [state for state, _ in seen.states(80)] == ["REJ"] * 4
