"""The real world's sockets, over loopback."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.real.world import RealWorld, Surroundings
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity, Stream, World

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``hub.lan`` and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "certificate.pem", folder / "key.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=lab",
    ]
    argv += ["-addext", "subjectAltName=DNS:hub.lan", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(argv, check=True, capture_output=True)
    return made


@pytest.fixture
def make_world(certificate: tuple[Path, Path], tmp_path: Path) -> Callable[..., RealWorld]:
    """A world whose guard lets loopback pass."""

    def make(task: str = "main", *, is_guarded: bool = False, kind: str = "hub") -> RealWorld:
        me = Identity(
            name="hub", kind=kind, mac="", address=HERE, address6="::1", pace=1.0, traits=Traits(seed="5:hub")
        )
        surroundings = Surroundings(
            me=me,
            seed="5",
            began_at_s=time.time() - 3600.0,
            starts_at_hour=23.5,
            scratch=tmp_path,
            certificate=certificate[0],
            key=certificate[1],
            guard=require_inside if is_guarded else lambda _: None,
        )
        return RealWorld(surroundings, task)

    return make


async def echo(_: World, stream: Stream) -> None:
    """Answer everything until the other side has finished."""
    while data := await stream.receive(2.0):
        await stream.send(data.upper())


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` within 10 s."""
    asyncio.run(asyncio.wait_for(work, 10.0))


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("address", [HERE, "::1"])
def test_a_connection_can_be_half_closed(make_world: Callable[..., RealWorld], is_tls: bool, address: str) -> None:
    async def talk() -> None:
        world = make_world()
        await world.listen(39381, echo, is_tls=is_tls)
        stream = await world.connect(address, 39381, tls_name="hub.lan" if is_tls else "", source_port=39382)
        assert stream.peer == (address, 39381)
        await stream.send(b"x" * 300_000)
        await stream.finish()
        heard = b""
        while data := await stream.receive(2.0):
            heard += data
        assert heard == b"X" * 300_000
        await stream.close()

    run(talk())


def test_tls_refuses_a_server_of_another_name(make_world: Callable[..., RealWorld]) -> None:
    async def talk() -> None:
        world = make_world()
        await world.listen(39383, echo, is_tls=True)
        with pytest.raises(OSError, match="Hostname mismatch"):
            await world.connect(HERE, 39383, tls_name="other.lan")

    run(talk())


def test_abort_resets_and_close_does_not(make_world: Callable[..., RealWorld]) -> None:
    heard: list[str] = []

    async def listen_once(_: World, stream: Stream) -> None:
        try:
            heard.append("end" if await stream.receive(2.0) == b"" else "data")
        except ConnectionResetError:
            heard.append("reset")

    async def talk() -> None:
        world = make_world()
        await world.listen(39384, listen_once)
        (await world.connect(HERE, 39384)).abort()
        await world.sleep(0.1)
        await (await world.connect(HERE, 39384)).close()
        await world.sleep(0.1)

    run(talk())
    assert heard == ["reset", "end"]


def test_silence_times_out_and_a_closed_port_refuses(make_world: Callable[..., RealWorld]) -> None:
    async def talk() -> None:
        world = make_world()
        await world.listen(39385, echo)
        stream = await world.connect(HERE, 39385)
        with pytest.raises(TimeoutError):
            await stream.receive(0.05)
        await stream.close()
        with pytest.raises(ConnectionRefusedError):
            await world.connect(HERE, 39386)

    run(talk())


@pytest.mark.parametrize("is_v6", [False, True])
def test_datagrams_are_exchanged_and_a_closed_port_is_told(make_world: Callable[..., RealWorld], is_v6: bool) -> None:
    async def talk() -> None:
        world = make_world()
        server = await world.open_datagrams(39387, is_v6=is_v6)
        client = await world.open_datagrams(is_v6=is_v6)
        here = "::1" if is_v6 else HERE
        await client.send(here, 39387, b"hello")
        address, port, data = await server.receive(1.0)
        assert (address, port, data) == (here, client.port, b"hello")
        server.close()
        await client.send(here, 39387, b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            await client.receive(1.0)
        with pytest.raises(TimeoutError):
            await client.receive(0.05)
        client.close()

    run(talk())


def test_an_answer_comes_from_the_address_that_was_asked(make_world: Callable[..., RealWorld]) -> None:
    async def talk() -> None:
        server = await make_world(kind="internet").open_datagrams(39391)
        client = await make_world().open_datagrams()
        await client.send("127.0.0.9", 39391, b"who are you?")
        asker, port, _ = await server.receive(1.0)
        await server.send(asker, port, b"me")
        assert await client.receive(1.0) == ("127.0.0.9", 39391, b"me")

    run(talk())


def test_nothing_outside_the_lab_is_reached(make_world: Callable[..., RealWorld]) -> None:
    async def talk() -> None:
        world = make_world(is_guarded=True)
        with pytest.raises(RequestError, match="outside"):
            await world.connect(HERE, 39388)
        datagrams = await world.open_datagrams()
        with pytest.raises(RequestError, match="outside"):
            await datagrams.send("9.9.9.9", 53, b"")
        datagrams.close()

    run(talk())


def test_tasks_have_random_streams_of_their_own_and_may_fail(
    make_world: Callable[..., RealWorld], capfd: pytest.CaptureFixture[str]
) -> None:
    drawn: dict[str, float] = {}

    async def draw(world: World) -> None:
        drawn["spawned"] = world.rng.random()
        raise ConnectionResetError("daily life")

    async def err(_: World) -> None:
        raise KeyError("a mistake")

    async def talk() -> None:
        world = make_world()
        world.spawn(draw, "draw")
        world.spawn(err, "err")
        await world.sleep(0.01)
        assert 0.45 < world.hour_of_day() < 0.55

    run(talk())
    assert drawn["spawned"] == make_world("draw").rng.random() != make_world().rng.random()
    said = capfd.readouterr().err
    assert "hub: err failed" in said
    assert "daily life" not in said
