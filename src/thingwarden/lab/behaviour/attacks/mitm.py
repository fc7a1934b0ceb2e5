"""Stepping between a victim and another host by false ARP replies.

In: victims and the host that is pretended, on the offender's LAN. Out: ARP by arpspoof, and the victims' packets twice.
Must never: change or keep what passes; the tool restores the caches at its end.
Source: RFC 826.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks.pacing import LONGEST_PROGRAM_S
from thingwarden.lab.prefix import GATEWAY, INTERNET
from thingwarden.lab.timeline import Aim
from thingwarden.lab.tool import ArpSpoof
from thingwarden.lab.world import World

_ANY_PROTO: Final = 0


class ArpSpoofSettings(ActSettings):
    """Who is deceived about whom.

    Attributes:
        targets: the victims, one after the other, IPv4.
        pretends: whose place is taken.
    """

    pretends: str = str(GATEWAY)


async def arp_spoof(world: World, settings: ArpSpoofSettings) -> None:
    """Deceive each victim for its share of the time."""
    share_s = min(LONGEST_PROGRAM_S, settings.lasts_s / max(1, len(settings.targets)))
    for victim in settings.targets:
        if ip_address(victim).version == 4:
            await world.use(
                ArpSpoof(victim=victim, pretends=settings.pretends, lasts_s=min(LONGEST_PROGRAM_S, share_s))
            )


def _aims(settings: ArpSpoofSettings) -> tuple[Aim, ...]:
    # What passes through the offender still carries the victim's address; through the gateway goes the internet.
    beyond = tuple(str(prefix) for prefix in INTERNET) if settings.pretends == str(GATEWAY) else ()
    return tuple(
        Aim(peer=peer, proto=_ANY_PROTO, source=victim)
        for victim in settings.targets
        for peer in (settings.pretends, *beyond)
    )


MITM: Final[dict[str, ActKind[Any]]] = {
    "arp_spoof": ActKind(
        about="False ARP replies lead a victim's packets through the offender.",
        settings=ArpSpoofSettings,
        run=arp_spoof,
        aims=_aims,
        attack_class=AttackClass.MITM,
        technique="T1557.002",
    ),
}
