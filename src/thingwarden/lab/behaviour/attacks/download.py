"""Fetching the next stage: files of random bytes over HTTP, TLS, TFTP, FTP or bare TCP, from a bare address.

In: a host of the attacker's inside the lab. Out: downloads, as the victim makes them after a login.
Must never: keep or run what came.
Source: RFC 9112, 1350, 959; the busybox commands of Mirai's loader for the login before.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Literal

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.guess import NEGOTIATION, drain, read_verdict
from thingwarden.lab.behaviour.attacks.pacing import Rhythm
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World

TCP: Final = 6
UDP: Final = 17
DROP: Final = SERVICES["drop.invalid"].address
TFTP_PORT: Final = 69
TFTP_BLOCK_BYTES: Final = 512
_FTP_PORT: Final = 21
_FTP_ENTERING: Final = b"227 "
_ARCHITECTURES: Final = ("arm7", "arm", "mips", "mpsl", "x86", "sh4", "ppc", "m68k")


class DownloadSettings(ActSettings):
    """One or more files from one host.

    Attributes:
        targets: the host, or several that are tried in turn.
        way: protocol; each has its usual port, which ``port`` replaces where it is not 0.
        file_bytes: of one file; ``files`` are fetched, ``gap_s`` apart.
        agent: of HTTP.
        ending: how a connection is left.
        patience_s: waited for a connection.
    """

    targets: tuple[str, ...] = (DROP,)
    way: Literal["http", "tftp", "ftp", "tls", "messages"] = "http"
    port: int = Field(default=0, ge=0, le=65535)
    file_bytes: int = breadth.number(60_000, 1_000, 4_000_000)
    files: int = breadth.number(1, 1, 8)
    gap_s: float = breadth.number(0.5, 0.05, 30.0)
    agent: Literal["Wget/1.12", "curl/7.38.0", "Hello, World", "BusyBox"] = "Wget/1.12"
    ending: Ending = "close"
    patience_s: float = breadth.number(5.0, 1.0, 20.0)

    @property
    def asked_port(self) -> int:
        """The port that is connected to."""
        return self.port or {"http": 80, "tftp": TFTP_PORT, "ftp": _FTP_PORT, "tls": 443, "messages": 4545}[self.way]


async def download(world: World, settings: DownloadSettings) -> None:
    """Fetch the files, one architecture after the other."""
    rhythm = Rhythm(world, settings.gap_s, lasts_s=settings.lasts_s, count=settings.files, jitter=0.4)
    number = 0
    while await rhythm.beat():
        address = settings.targets[number % len(settings.targets)]
        with contextlib.suppress(OSError):
            await _fetch(world, address, _ARCHITECTURES[number % len(_ARCHITECTURES)], settings)
        number += 1


async def _fetch(world: World, address: str, name: str, settings: DownloadSettings) -> None:
    if settings.way == "tftp":
        await _fetch_by_tftp(world, address, name, settings)
        return
    tls_name = "drop.invalid" if settings.way == "tls" else ""
    stream = await world.connect(address, settings.asked_port, tls_name=tls_name, timeout_s=settings.patience_s)
    source = Buffered(stream)
    try:
        if settings.way == "ftp":
            await _fetch_by_ftp(world, source, name, settings)
        elif settings.way == "messages":
            await session.take_turn(stream, session.Turn(sent_bytes=12, answer_bytes=settings.file_bytes))
        else:
            ask = http.Ask(path=f"/bins/{name}", answer_bytes=settings.file_bytes)
            await http.send_request(stream, address, ask, http.Manners(agent=settings.agent, header_bytes=1))
            await http.read_answer(source)
    except OSError:
        stream.abort()
        raise
    await leave(world, stream, settings.ending)


async def _fetch_by_ftp(world: World, source: Buffered, name: str, settings: DownloadSettings) -> None:
    await source.until(b"\n", timeout_s=settings.patience_s)
    for line in ("USER anonymous", "PASS a@b", "TYPE I", f"SIZE {name}-{settings.file_bytes}", "PASV"):
        await source.stream.send(f"{line}\r\n".encode())
        answer = await source.until(b"\n")
    if not answer.startswith(_FTP_ENTERING):
        raise ConnectionAbortedError("no passive mode")
    *_, high, low = answer.split(b"(")[1].split(b")")[0].split(b",")
    await source.stream.send(f"RETR {name}\r\n".encode())
    data = await world.connect(source.stream.peer[0], int(high) * 256 + int(low), timeout_s=settings.patience_s)
    with contextlib.suppress(OSError):
        while await data.receive(settings.patience_s):
            pass
    await data.close()
    await source.until(b"226", timeout_s=settings.patience_s)
    await source.stream.send(b"QUIT\r\n")
    await source.until(b"221", timeout_s=settings.patience_s)


async def _fetch_by_tftp(world: World, address: str, name: str, settings: DownloadSettings) -> None:
    socket = await world.open_datagrams(is_v6=":" in address)
    try:
        request = b"\0\1" + f"{name}-{settings.file_bytes}".encode() + b"\0octet\0"
        await socket.send(address, settings.asked_port, request)
        for _ in range(settings.file_bytes // TFTP_BLOCK_BYTES + 1):
            _, port, block = await socket.receive(settings.patience_s)
            await socket.send(address, port, b"\0\4" + block[2:4])
            if len(block) < TFTP_BLOCK_BYTES + 4:
                return
    finally:
        socket.close()


class LoginSettings(ActSettings):
    """One login with the right password, and shell commands.

    Attributes:
        targets: the device.
        port: of its telnet login.
        commands: lines at most, ``think_s`` apart; each of ``line_bytes`` about.
        user, password: that it accepts.
        ending: how the session is left.
        patience_s: waited for a prompt.
    """

    port: int = breadth.known_port(23, 2323)
    commands: int = breadth.number(12, 3, 120)
    line_bytes: int = breadth.number(40, 8, 400)
    think_s: float = breadth.number(0.2, 0.01, 5.0)
    user: str = FACTORY_LOGIN[0]
    password: str = FACTORY_LOGIN[1]
    ending: Ending = "close"
    patience_s: float = breadth.number(6.0, 2.0, 20.0)


async def login(world: World, settings: LoginSettings) -> None:
    """Log in and send the lines that a loader sends, among them the contents of a file as text."""
    for target in settings.targets:
        with contextlib.suppress(OSError):
            stream = await world.connect(target, settings.port, timeout_s=settings.patience_s)
            with contextlib.suppress(OSError):
                await _use_shell(world, Buffered(stream), settings)
            await leave(world, stream, settings.ending)


async def _use_shell(world: World, source: Buffered, settings: LoginSettings) -> None:
    await source.until(b"login: ", timeout_s=settings.patience_s)
    await source.stream.send(NEGOTIATION + settings.user.encode() + b"\r\n")
    await source.until(b"assword: ", timeout_s=settings.patience_s)
    await source.stream.send(settings.password.encode() + b"\r\n")
    if not await read_verdict(source, settings.patience_s):
        return
    rhythm = Rhythm(world, settings.think_s, lasts_s=settings.lasts_s, count=settings.commands, jitter=0.5)
    while await rhythm.beat():
        text = world.rng.randbytes(max(1, settings.line_bytes // 4)).hex()
        await source.stream.send(f"echo -ne '{text}' >> .f\r\n".encode())
        await drain(source, settings.patience_s)
    await source.stream.send(b"exit\r\n")


def _download_aims(settings: DownloadSettings) -> tuple[Aim, ...]:
    # FTP's data come over a connection to a port of the server's choice.
    ports = () if settings.way == "ftp" else (settings.asked_port,)
    proto = UDP if settings.way == "tftp" else TCP
    return tuple(Aim(peer=target, proto=proto, ports=ports) for target in settings.targets)


def _login_aims(settings: LoginSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=TCP, ports=(settings.port,)) for target in settings.targets)


DOWNLOADS: Final[dict[str, ActKind[Any]]] = {
    "download": ActKind(
        about="The victim fetches files from a bare address.",
        settings=DownloadSettings,
        run=download,
        aims=_download_aims,
        attack_class=AttackClass.DOWNLOAD,
        technique="T1105",
    ),
    "login": ActKind(
        about="A login with a guessed password, and shell commands; the victim's download follows as its own act.",
        settings=LoginSettings,
        run=login,
        aims=_login_aims,
        attack_class=AttackClass.BRUTE_FORCE,
        technique="T1078",
    ),
}
