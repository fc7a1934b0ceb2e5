"""From device to device: an infected one looks for logins on its LAN, guesses, and leaves shell lines behind.

In: targets inside the lab, by address. Out: probes, guesses and one loader's session per door that opened.
Must never: go beyond ``targets`` and ``lasts_s``, or put anything on a device; which host goes on, the event decides.
Source: public analyses of Mirai's and Gafgyt's spreading.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Final

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.address import draw_addresses
from thingwarden.lab.behaviour.attacks.download import LoginSettings, login
from thingwarden.lab.behaviour.attacks.guess import GuessSettings, guess_telnet
from thingwarden.lab.behaviour.attacks.pacing import Crowd, Rhythm
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World

_TCP: Final = 6


class WormSettings(GuessSettings):
    """As ``GuessSettings``, after a search for open doors.

    Attributes:
        hosts: asked at most, in random order.
        probes_per_s: on average.
        probe_s: waited for an answer to a probe.
        commands: shell lines after a login.
    """

    hosts: int = breadth.number(60, 2, 250)
    probes_per_s: float = breadth.number(20.0, 0.2, 300.0)
    probe_s: float = breadth.number(1.5, 0.3, 6.0)
    commands: int = breadth.number(10, 3, 60)
    finds: bool = breadth.flag(True, likely=0.8)


async def spread(world: World, settings: WormSettings) -> None:
    """Search, then guess at each door found and log in."""
    rhythm = Rhythm(world, 1 / settings.probes_per_s, lasts_s=settings.lasts_s, count=settings.hosts, jitter=1.0)
    crowd = Crowd(world)
    found: list[str] = []

    async def search(own: World, address: str) -> None:
        with contextlib.suppress(OSError):
            stream = await own.connect(address, settings.port, timeout_s=settings.probe_s)
            await stream.close()
            found.append(address)

    for address in draw_addresses(settings.targets, world.rng, settings.hosts):
        if address == world.me.address:
            continue
        if not await rhythm.beat():
            break
        crowd.start(partial(search, address=address))
    await crowd.wait(min(rhythm.left_s, settings.probe_s))
    for address in found:
        if rhythm.left_s > 0.0:
            await _take(world, settings, address, rhythm.left_s / len(found))


async def _take(world: World, settings: WormSettings, address: str, lasts_s: float) -> None:
    await guess_telnet(world, settings.model_copy(update={"targets": (address,), "lasts_s": lasts_s}))
    if settings.finds:
        shell = LoginSettings(
            targets=(address,),
            lasts_s=lasts_s,
            port=settings.port,
            commands=settings.commands,
            ending=settings.ending,
            patience_s=max(2.0, settings.patience_s),
        )
        await login(world, shell)


WORMS: Final[dict[str, ActKind[Any]]] = {
    "spread": ActKind(
        about="An infected device looks for logins on its LAN, guesses and leaves shell lines behind.",
        settings=WormSettings,
        run=spread,
        aims=lambda settings: tuple(
            Aim(peer=target, proto=_TCP, ports=(settings.port,)) for target in settings.targets
        ),
        attack_class=AttackClass.LATERAL,
        technique="T1210",
    ),
}
