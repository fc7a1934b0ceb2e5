"""The telnet dialogue in both forms, and SSH's outline."""

from __future__ import annotations

import pytest

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.protocol import login
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN
from thingwarden.lab.world import World


async def _telnet(world: World) -> None:
    await world.listen(23, login.telnet_server("camera"))
    await world.listen(2323, login.telnet_server("camera", "plain"))
    await world.listen(22, login.ssh_server())
    await world.listen(2222, login.ssh_server(accepts=False))


async def _guess(source: Buffered, password: bytes) -> bytes:
    await source.until(b"login: ")
    await source.stream.send(b"\xff\xfc\x01root\r\n")
    echoed = await source.until(b"Password: ")
    await source.stream.send(password + b"\r\n")
    return echoed


def test_three_guesses_a_connection_then_it_closes() -> None:
    seen: list[bytes] = []

    async def guesser(world: World) -> None:
        source = Buffered(await world.connect(address_of(0), 23))
        seen.append((await source.peek())[:3])
        for _ in range(3):
            await _guess(source, b"wrong")
            seen.append(await source.until(b"Login incorrect\r\n"))
        with pytest.raises(ConnectionResetError):
            await source.peek()
        seen.append(b"closed")

    play(device=_telnet, guesser=guesser)
    assert seen == [b"\xff\xfd\x01", *[b"\r\nLogin incorrect\r\n"] * 3, b"closed"]


def test_plain_dialogue_has_no_options_echoes_and_closes_after_one_guess() -> None:
    seen: list[bytes] = []

    async def guesser(world: World) -> None:
        source = Buffered(await world.connect(address_of(0), 2323))
        assert await source.peek() == b"camera login: "
        seen.append(await _guess(source, b"wrong"))
        seen.append(await source.until(b"\r\nLogin incorrect\r\n"))
        with pytest.raises(ConnectionResetError):
            await source.peek()
        seen.append(b"closed")

    play(device=_telnet, guesser=guesser)
    assert seen == [b"root\r\nPassword: ", b"\r\nLogin incorrect\r\n", b"closed"]


def test_known_password_opens_a_shell() -> None:
    seen: list[bytes] = []

    async def guesser(world: World) -> None:
        source = Buffered(await world.connect(address_of(0), 23))
        await _guess(source, FACTORY_LOGIN[1].encode())
        seen.append(await source.until(b"# "))

    play(device=_telnet, guesser=guesser)
    assert b"BusyBox" in seen[0]


def test_owner_administers_by_telnet_and_ssh() -> None:
    async def phone(world: World) -> None:
        telnet = await world.connect(address_of(0), 23)
        await login.administer(world, telnet, 3)
        await telnet.close()
        ssh = await world.connect(address_of(0), 22)
        await login.use_ssh(world, ssh, 5)
        await ssh.close()

    assert contacts(play(300.0, device=_telnet, phone=phone)) == [(6, 23, "SF", ""), (6, 22, "SF", "ssh")]


def test_ssh_that_lets_nobody_in_ends_early() -> None:
    failed: list[str] = []

    async def guesser(world: World) -> None:
        ssh = await world.connect(address_of(0), 2222)
        with pytest.raises(OSError, match=r".*"):
            await login.use_ssh(world, ssh, 50)
        failed.append("refused")

    play(device=_telnet, guesser=guesser)
    assert failed == ["refused"]
