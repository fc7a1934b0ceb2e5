"""Models of the programs that attackers and administrators use.

In: a ``Tool``. Out: the packets that the real program and its targets would exchange.
Must never: send outside the lab's prefixes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thingwarden.lab.tool import Tool

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld


async def use_tool(world: SimulatedWorld, tool: Tool) -> None:
    """Run ``tool`` to its end, or to its bound in time."""
    await world.sleep(tool.lasts_s)
