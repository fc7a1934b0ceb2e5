"""Models of the programs that attackers and administrators use.

In: a ``Tool``. Out: the packets that the real program and its targets would exchange.
Must never: send outside the lab's prefixes, or without a bound in count, rate and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thingwarden.domain.errors import RequestError
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.simulated.capture import Detour
from thingwarden.lab.simulated.flood import send_flood
from thingwarden.lab.simulated.guess import guess_logins
from thingwarden.lab.simulated.network import address_words
from thingwarden.lab.simulated.scan import scan_ports
from thingwarden.lab.tool import ArpSpoof, LoginGuess, PacketFlood, PortScan, Tool

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld

MAX_PACKETS: Final = 50_000
MAX_PACKETS_PER_S: Final = 2_000
MAX_TRIES: Final = 500
MAX_TARGETS: Final = 4_096
MAX_LASTS_S: Final = 600.0
_ANY_PROTO: Final = 0
_POISONED_AFTER_S: Final = 0.05


async def use_tool(world: SimulatedWorld, tool: Tool) -> None:
    """Run ``tool`` to its end, or to its bound in time.

    Raises:
        RequestError: a target is outside the lab, or a count, rate or time beyond its bound.
    """
    _require_bound("seconds", tool.lasts_s, MAX_LASTS_S)
    match tool:
        case PortScan():
            for target in tool.targets:
                require_inside(target)
            _require_bound("targets", len(tool.targets), MAX_TARGETS)
            _require_bound("packets/s", tool.packets_per_s, MAX_PACKETS_PER_S)
            await scan_ports(world, tool)
        case PacketFlood():
            for target in filter(None, (tool.target, tool.source)):
                require_inside(target)
            _require_bound("packets", tool.packet_count, MAX_PACKETS)
            _require_bound("packets/s", tool.packets_per_s, MAX_PACKETS_PER_S)
            await send_flood(world, tool)
        case LoginGuess():
            require_inside(tool.target)
            _require_bound("tries", tool.tries, MAX_TRIES)
            await guess_logins(world, tool)
        case ArpSpoof():
            for target in (tool.victim, tool.pretends):
                require_inside(target)
            await _spoof(world, tool)


async def _spoof(world: SimulatedWorld, tool: ArpSpoof) -> None:
    """Lead what the victim and the pretended host say to each other through this host."""
    process = world.process
    network = process.network
    victim, pretended = network.find(tool.victim), network.find(tool.pretends)
    if not (victim.is_up and pretended.is_up):
        return
    await world.sleep(_POISONED_AFTER_S)
    begins_s = world.now_s()
    detour = Detour(
        begins_s=begins_s,
        ends_s=begins_s + tool.lasts_s - _POISONED_AFTER_S,
        victim=address_words(tool.victim),
        victim_mac=victim.mac,
        pretended_mac=pretended.mac,
        through_mac=process.host.mac,
        label=process.label_to(tool.pretends, _ANY_PROTO, 0),
    )
    network.capture.detours.append(detour)
    await world.sleep(detour.ends_s - begins_s)


def _require_bound(what: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise RequestError("lab tool", f"{value:g} {what}", f"more than 0, at most {most:g}")
