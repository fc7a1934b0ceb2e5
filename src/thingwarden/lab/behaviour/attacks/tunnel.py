"""Names that carry data: a bot's beacons and a tunnel's stream inside DNS queries.

In: the tunnel's name server inside the lab. Out: queries whose names are random text, answers as fat as wished for.
Must never: carry anything but random bytes.
Source: RFC 1035 for lengths; iodine and dnscat2 for the shape of the names.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Literal

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.control import UDP, ControlSettings, control_rhythm, varied
from thingwarden.lab.behaviour.protocol.dns import DNS_PORT, encode_query
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import Datagrams, World

TUNNEL: Final = SERVICES["tunnel.invalid"].address
DOMAIN: Final = "t.example"
LONGEST_LABEL: Final = 60
MOST_NAME_BYTES: Final = 200
_RECORDS: Final = {"TXT": 16, "NULL": 10, "CNAME": 5, "A": 1, "MX": 15}


class TunnelSettings(ControlSettings):
    """Queries under the tunnel's domain.

    Attributes:
        record: asked for.
        sent_bytes: length of the carrying part of the name.
        answer_bytes: of the answer's data, as wished for in the name.
        new_port_share: how often a query comes from a new port.
    """

    targets: tuple[str, ...] = (TUNNEL,)
    port: int = Field(default=DNS_PORT, ge=1, le=65535)
    record: Literal["TXT", "NULL", "CNAME", "A", "MX"] = "TXT"
    sent_bytes: int = breadth.number(30, 8, MOST_NAME_BYTES)
    answer_bytes: int = breadth.number(40, 4, 900)
    new_port_share: float = breadth.one_of(1.0, 0.0, 0.1)


class StreamSettings(TunnelSettings):
    """As ``TunnelSettings``, many and fat."""

    period_s: float = breadth.number(0.15, 0.02, 5.0)
    jitter: float = breadth.one_of(1.0, 0.1, 0.5)
    count: int = breadth.number(300, 30, 3000)
    sent_bytes: int = breadth.number(150, 40, MOST_NAME_BYTES)
    answer_bytes: int = breadth.number(200, 40, 1100)


async def query_steadily(world: World, settings: TunnelSettings) -> None:
    """Beacons and tunnels alike: one query a beat."""
    rhythm = control_rhythm(world, settings)
    socket: Datagrams | None = None
    while await rhythm.beat():
        if socket is None or world.rng.random() < settings.new_port_share:
            if socket is not None:
                socket.close()
            socket = await world.open_datagrams(is_v6=any(":" in target for target in settings.targets))
        name = encode_name(world, varied(world, settings.sent_bytes, settings.spread), settings.answer_bytes)
        query = encode_query(world.rng.randrange(65536), name, _RECORDS[settings.record])
        for _ in range(settings.tries):
            with contextlib.suppress(OSError):
                await socket.send(world.rng.choice(settings.targets), settings.port, query)
                await socket.receive(min(settings.patience_s, max(0.05, rhythm.left_s)))
                break
    if socket is not None:
        socket.close()


def encode_name(world: World, carried_bytes: int, answer_bytes: int) -> str:
    """Random labels under ``DOMAIN`` that wish for an answer of that size.

    Args:
        world: whose randomness.
        carried_bytes: cut at ``MOST_NAME_BYTES``.
        answer_bytes: of the record's data.
    """
    text = f"{world.rng.getrandbits(4 * MOST_NAME_BYTES):0{MOST_NAME_BYTES}x}"[: min(carried_bytes, MOST_NAME_BYTES)]
    labels = [text[at : at + LONGEST_LABEL] for at in range(0, len(text), LONGEST_LABEL)]
    return ".".join((*labels, f"n{answer_bytes}", DOMAIN))


def _aims(settings: TunnelSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=UDP, ports=settings.ports) for target in settings.targets)


TUNNELS: Final[dict[str, ActKind[Any]]] = {
    "c2_dns": ActKind(
        about="A bot whose beacons are DNS queries to its owner's name server.",
        settings=TunnelSettings,
        run=query_steadily,
        aims=_aims,
        attack_class=AttackClass.C2,
        technique="T1071.004",
    ),
    "dns_tunnel": ActKind(
        about="A stream of fat DNS queries and answers.",
        settings=StreamSettings,
        run=query_steadily,
        aims=_aims,
        attack_class=AttackClass.C2,
        technique="T1572",
    ),
}
