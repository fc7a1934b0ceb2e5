"""An infected device's contact with whoever controls it: over IRC, HTTP, TLS, bare TCP, MQTT, and over UDP to many.

In: a control host inside the lab, which need not answer. Out: short exchanges with a period, from 2 s to hours.
Must never: obey what comes; answers are passed over.
Source: the dialogues follow public analyses of Mirai (short keep-alives), Tsunami (IRC), Mozi and Hajime (UDP peers).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final, Literal, Protocol, TypeAlias

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.address import draw_addresses
from thingwarden.lab.behaviour.attacks.pacing import Rhythm
from thingwarden.lab.behaviour.protocol import http, mqtt, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import SPOOFED
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import Datagrams, Stream, World

TCP: Final = 6
UDP: Final = 17
CONTROL: Final = SERVICES["control.invalid"].address
CONTROL_2: Final = SERVICES["control-2.invalid"].address
_SESSION_IDLE_S: Final = 20.0
_HEAD_BYTES: Final = len(session.encode_turn(session.Turn()))
_NAME_OF_ADDRESS: Final = {
    address: service.name for service in SERVICES.values() for address in (service.address, service.address6)
}


class ControlSettings(ActSettings):
    """How a bot keeps in touch.

    Attributes:
        targets: the control hosts; the next one is tried where one fails.
        port: of all of them; ``hop_ports`` are used in turn instead where there are any.
        period_s: from one contact to the next; ``jitter`` as a part of it.
        count: contacts at most.
        is_kept: one connection is held over all contacts, and opened again where it breaks.
        turns: messages per contact, ``gap_s`` apart.
        sent_bytes, answer_bytes: of a message and of its answer; ``spread`` is how much they vary.
        think_ms: before the answer.
        ending: how a connection is left.
        patience_s: waited for a connection.
        tries: per contact, ``retry_s`` apart.
        night_from_hour: when the bot falls silent, for ``night_h`` hours.
    """

    targets: tuple[str, ...] = (CONTROL,)
    port: int = breadth.port(6667, 23, 80, 443, 1024, 4444, 5555, 6697, 7777, 8080, 9999, 48101)
    hop_ports: tuple[int, ...] = ()
    period_s: float = breadth.number(60.0, 2.0, 14_400.0)
    jitter: float = breadth.one_of(0.1, 0.0, 0.02, 0.05, 0.2, 0.3, 0.5)
    count: int = Field(default=5000, ge=1, le=50_000)
    is_kept: bool = breadth.flag(False)
    turns: int = breadth.number(1, 1, 6)
    gap_s: float = breadth.number(0.5, 0.02, 20.0)
    sent_bytes: int = breadth.number(40, 1, 2000)
    answer_bytes: int = breadth.number(30, 1, 3000)
    spread: float = breadth.one_of(0.05, 0.0, 0.3, 1.0)
    think_ms: int = breadth.number(20, 1, 3000)
    ending: Ending = "close"
    patience_s: float = breadth.number(4.0, 1.0, 20.0)
    tries: int = breadth.number(1, 1, 4)
    retry_s: float = breadth.number(5.0, 0.5, 60.0)
    night_from_hour: float = breadth.share(0.0, 0.0, 24.0)
    night_h: float = breadth.rarely(0.0, 2.0, 10.0, likely=0.2)

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that is used."""
        return self.hop_ports or (self.port,)


class WebControlSettings(ControlSettings):
    """As ``ControlSettings``, by HTTP requests.

    Attributes:
        path: asked for.
        agent: says that it is.
        header_bytes: of further headers.
        posts: whether ``sent_bytes`` go as a body.
    """

    port: int = breadth.port(80, 8080, 8000, 8888, 81, 5000, 9090)
    path: Literal["/gate.php", "/", "/api/v1/poll", "/images/logo.gif", "/cgi-bin/p.cgi"] = "/gate.php"
    agent: Literal["Mozilla/5.0", "curl/7.61.0", "Wget/1.20", "Go-http-client/1.1", "b4ngl4d3sh"] = "Mozilla/5.0"
    header_bytes: int = breadth.number(30, 1, 800)
    posts: bool = breadth.flag(True)


class TlsControlSettings(WebControlSettings):
    """As ``WebControlSettings``, over TLS, where ``speaks`` says what is inside."""

    port: int = breadth.port(443, 8443, 4443, 9443, 6697)
    speaks: Literal["http", "messages"] = "http"


class BrokerControlSettings(ControlSettings):
    """As ``ControlSettings``, by messages on a topic of a public broker."""

    targets: tuple[str, ...] = (SERVICES["mqtt-cloud.example"].address,)
    port: int = breadth.known_port(1883)
    is_kept: bool = breadth.flag(True, likely=0.7)


class Talk(Protocol):
    """What is said over one connection."""

    async def begin(self, world: World) -> None:
        """Right after the connection is open. Raises OSError."""

    async def beat(self, world: World) -> None:
        """One contact. Raises OSError."""

    async def rest(self, world: World, span_s: float) -> None:
        """Hold the connection for ``span_s`` seconds. Raises OSError."""


class _Messages:
    """Counted messages, or bare bytes that come back where they are too short to count."""

    def __init__(self, stream: Stream, settings: ControlSettings) -> None:
        self.stream = stream
        self.settings = settings

    async def begin(self, world: World) -> None:
        if self.settings.is_kept:
            await self._say(world, self.settings.sent_bytes + world.rng.randrange(4))

    async def beat(self, world: World) -> None:
        for number in range(self.settings.turns):
            if number:
                await world.sleep(self.settings.gap_s * world.rng.uniform(0.5, 1.5))
            await self._say(world, varied(world, self.settings.sent_bytes, self.settings.spread))

    async def rest(self, world: World, span_s: float) -> None:
        await session.idle(world, self.stream, span_s)

    async def _say(self, world: World, sent_bytes: int) -> None:
        if sent_bytes < _HEAD_BYTES:
            await self.stream.send(bytes(sent_bytes))
            await self.stream.receive(_SESSION_IDLE_S)
            return
        answer_bytes = varied(world, self.settings.answer_bytes, self.settings.spread)
        turn = session.Turn(
            sent_bytes=sent_bytes - _HEAD_BYTES, answer_bytes=answer_bytes, think_ms=self.settings.think_ms
        )
        await session.take_turn(self.stream, turn, _SESSION_IDLE_S)


class _Requests:
    """HTTP requests, their answers as large as wished for."""

    def __init__(self, stream: Stream, settings: WebControlSettings) -> None:
        self.stream = stream
        self.settings = settings
        self._manners = http.Manners(
            agent=settings.agent,
            header_bytes=settings.header_bytes,
            is_keep_alive=settings.is_kept or settings.turns > 1,
            gap_s=settings.gap_s,
        )
        self._source = Buffered(stream)

    async def begin(self, world: World) -> None:
        """Nothing is said before the first request."""

    async def beat(self, world: World) -> None:
        settings = self.settings
        for number in range(settings.turns):
            if number:
                await world.sleep(settings.gap_s * world.rng.uniform(0.5, 1.5))
            ask = http.Ask(
                path=settings.path,
                body_bytes=varied(world, settings.sent_bytes, settings.spread) if settings.posts else -1,
                answer_bytes=varied(world, settings.answer_bytes, settings.spread),
                think_ms=settings.think_ms,
            )
            keep = settings.is_kept or number + 1 < settings.turns
            await http.send_request(self.stream, self.stream.peer[0], ask, self._manners, keep=keep)
            await http.read_answer(self._source, _SESSION_IDLE_S)

    async def rest(self, world: World, span_s: float) -> None:
        await session.idle(world, self.stream, span_s)


class _Chat:
    """IRC: a nickname, a channel, then pings and lines."""

    def __init__(self, stream: Stream, settings: ControlSettings) -> None:
        self.stream = stream
        self.settings = settings

    async def begin(self, world: World) -> None:
        name = f"bot{world.rng.randrange(10**6):06d}"
        await self.stream.send(f"NICK {name}\r\nUSER {name} localhost localhost :{name}\r\n".encode())
        await self.stream.receive(_SESSION_IDLE_S)
        await self.stream.send(b"JOIN #k :k\r\n")
        await self.stream.receive(_SESSION_IDLE_S)

    async def beat(self, world: World) -> None:
        for number in range(self.settings.turns):
            if number:
                await world.sleep(self.settings.gap_s * world.rng.uniform(0.5, 1.5))
            text_bytes = varied(world, self.settings.sent_bytes, self.settings.spread)
            line = b"PING :k\r\n" if text_bytes < 24 else b"PRIVMSG #k :%s\r\n" % (b"s" * (text_bytes - 14))
            await self.stream.send(line)
            await self.stream.receive(_SESSION_IDLE_S)

    async def rest(self, world: World, span_s: float) -> None:
        await session.idle(world, self.stream, span_s)


class _Topic:
    """MQTT: listens on a topic of its own and reports on another."""

    def __init__(self, stream: Stream, settings: ControlSettings) -> None:
        self.settings = settings
        self._session = mqtt.Session(stream, keep_alive_s=60)

    async def begin(self, world: World) -> None:
        name = f"{world.rng.getrandbits(40):010x}"
        await self._session.log_in(name)
        pushes = f"push/{max(1, round(self.settings.period_s))}/{self.settings.answer_bytes}/{name}"
        await self._session.subscribe([pushes])

    async def beat(self, world: World) -> None:
        for number in range(self.settings.turns):
            if number:
                await world.sleep(self.settings.gap_s * world.rng.uniform(0.5, 1.5))
            text = world.rng.randbytes(varied(world, self.settings.sent_bytes, self.settings.spread))
            await self._session.publish("c/up", text)

    async def rest(self, world: World, span_s: float) -> None:
        await mqtt.rest(world, self._session, span_s)


MakeTalk: TypeAlias = Callable[[Stream, Any], Talk]


class _Line:
    """The connection to the control hosts: opened when needed, given up when it breaks."""

    def __init__(self, settings: ControlSettings, make_talk: MakeTalk, *, is_tls: bool) -> None:
        self._settings = settings
        self._make_talk = make_talk
        self._is_tls = is_tls
        self._stream: Stream | None = None
        self._talk: Talk | None = None
        self._target_number = 0
        self._port_number = 0

    async def contact(self, world: World, rhythm: Rhythm) -> None:
        """One contact, tried as often as the settings say."""
        for number in range(self._settings.tries):
            if number:
                await rhythm.pause(self._settings.retry_s)
            try:
                talk = self._talk or await self._open(world)
                await talk.beat(world)
            except OSError:
                await self.drop()
                self._target_number += 1
                continue
            if not self._settings.is_kept:
                await self.leave(world)
            return

    async def rest(self, world: World, span_s: float) -> None:
        """Let ``span_s`` pass, listening where a connection is held."""
        if self._talk is None:
            return
        try:
            await self._talk.rest(world, span_s)
        except OSError:
            await self.drop()

    async def leave(self, world: World) -> None:
        """End the connection as the settings say."""
        if self._stream is not None:
            await leave(world, self._stream, self._settings.ending)
        self._stream, self._talk = None, None

    async def drop(self) -> None:
        """End a connection that broke."""
        if self._stream is not None:
            await self._stream.close()
        self._stream, self._talk = None, None

    async def _open(self, world: World) -> Talk:
        settings = self._settings
        address = settings.targets[self._target_number % len(settings.targets)]
        port = settings.ports[self._port_number % len(settings.ports)]
        self._port_number += 1
        name = _NAME_OF_ADDRESS.get(address, "control.invalid") if self._is_tls else ""
        self._stream = await world.connect(address, port, tls_name=name, timeout_s=settings.patience_s)
        self._talk = self._make_talk(self._stream, settings)
        await self._talk.begin(world)
        return self._talk


async def keep_contact(world: World, settings: ControlSettings, make_talk: MakeTalk, *, is_tls: bool = False) -> None:
    """Contact the control hosts again and again until the bound."""
    line = _Line(settings, make_talk, is_tls=is_tls)
    rhythm = control_rhythm(world, settings)
    while await rhythm.beat():
        await line.contact(world, rhythm)
        await line.rest(world, rhythm.due_in_s)
    await line.leave(world)


def control_rhythm(world: World, settings: ControlSettings) -> Rhythm:
    """The rhythm of a bot's contacts."""
    return Rhythm(
        world,
        settings.period_s,
        lasts_s=settings.lasts_s,
        count=settings.count,
        jitter=settings.jitter,
        sleeps=(settings.night_from_hour, (settings.night_from_hour + settings.night_h) % 24.0),
    )


def varied(world: World, usual: int, spread: float) -> int:
    """A size around ``usual``, at least 1 and at most 20 times as much."""
    if spread == 0.0:
        return max(1, usual)
    return max(1, min(20 * usual, round(usual * world.rng.lognormvariate(0.0, spread))))


async def c2_irc(world: World, settings: ControlSettings) -> None:
    """IRC."""
    await keep_contact(world, settings, _Chat)


async def c2_http(world: World, settings: WebControlSettings) -> None:
    """HTTP polling."""
    await keep_contact(world, settings, _Requests)


async def c2_tls(world: World, settings: TlsControlSettings) -> None:
    """TLS."""
    await keep_contact(world, settings, _Requests if settings.speaks == "http" else _Messages, is_tls=True)


async def c2_tcp(world: World, settings: ControlSettings) -> None:
    """Bare TCP."""
    await keep_contact(world, settings, _Messages)


async def c2_mqtt(world: World, settings: BrokerControlSettings) -> None:
    """A public broker."""
    await keep_contact(world, settings, _Topic)


class DatagramControlSettings(ControlSettings):
    """As ``ControlSettings``, by datagrams.

    Attributes:
        peers: asked at each contact.
        known_share: how many of them are addresses of ``targets``; the others are drawn from its prefixes.
        own_port: to send from; 0 is any, a new one at each contact unless ``is_kept``.
        answers: datagrams that answer one.
    """

    port: int = breadth.port(6881, 53, 123, 443, 1900, 14737, 20000, 51413)
    peers: int = Field(default=1, ge=1, le=100)
    known_share: float = Field(default=1.0, ge=0.0, le=1.0)
    own_port: int = Field(default=0, ge=0, le=65535)
    answers: int = breadth.number(1, 1, 5)


class PeerControlSettings(DatagramControlSettings):
    """As ``DatagramControlSettings``, to many peers of which most are gone."""

    targets: tuple[str, ...] = (CONTROL, CONTROL_2, str(SPOOFED))
    peers: int = breadth.number(8, 2, 60)
    known_share: float = breadth.share(0.2)
    is_kept: bool = breadth.flag(True, likely=0.8)


async def c2_udp(world: World, settings: DatagramControlSettings) -> None:
    """Datagrams to one control host or to many peers."""
    hosts = [target for target in settings.targets if ip_network(target).num_addresses == 1]
    prefixes = [target for target in settings.targets if target not in hosts]
    rhythm = control_rhythm(world, settings)
    socket: Datagrams | None = None
    while await rhythm.beat():
        if socket is None:
            socket = await world.open_datagrams(
                settings.own_port, is_v6=any(":" in target for target in settings.targets)
            )
        for _ in range(settings.peers):
            is_known = bool(hosts) and (not prefixes or world.rng.random() < settings.known_share)
            address = world.rng.choice(hosts) if is_known else next(draw_addresses(prefixes, world.rng, 1))
            await _ask_peer(world, socket, address, settings)
        if not settings.is_kept:
            socket.close()
            socket = None
    if socket is not None:
        socket.close()


async def _ask_peer(world: World, socket: Datagrams, address: str, settings: DatagramControlSettings) -> None:
    sent_bytes = varied(world, settings.sent_bytes, settings.spread)
    answer_bytes = varied(world, settings.answer_bytes, settings.spread)
    wish = session.encode_wish(sent_bytes, answer_bytes, settings.answers, settings.think_ms)
    port = settings.ports[world.rng.randrange(len(settings.ports))]
    with contextlib.suppress(OSError):
        await session.ask_datagrams(socket, address, port, wish, min(2.0, settings.patience_s))


def _aims(settings: ControlSettings, proto: int) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=proto, ports=settings.ports) for target in settings.targets)


def _kind(about: str, settings: type[ControlSettings], run: Callable[[World, Any], Any], proto: int) -> ActKind[Any]:
    return ActKind(
        about=about,
        settings=settings,
        run=run,
        aims=lambda chosen: _aims(chosen, proto),
        attack_class=AttackClass.C2,
        technique="T1095" if settings in (ControlSettings, DatagramControlSettings, PeerControlSettings) else "T1071",
    )


CONTROLS: Final[dict[str, ActKind[Any]]] = {
    "c2_irc": _kind("A bot in an IRC channel.", ControlSettings, c2_irc, TCP),
    "c2_http": _kind("A bot that polls a web page.", WebControlSettings, c2_http, TCP),
    "c2_tls": _kind("A bot that calls home over TLS.", TlsControlSettings, c2_tls, TCP),
    "c2_tcp": _kind("A bot's heartbeats over bare TCP.", ControlSettings, c2_tcp, TCP),
    "c2_mqtt": _kind("A bot that meets its owner on a public broker.", BrokerControlSettings, c2_mqtt, TCP),
    "c2_udp": _kind("A bot's datagrams to one host.", DatagramControlSettings, c2_udp, UDP),
    "c2_p2p": _kind("A bot that asks many peers in turn, most of them gone.", PeerControlSettings, c2_udp, UDP),
}
