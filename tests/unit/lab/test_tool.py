"""What is asked of programs is bounded by default, within what the lab lets them do."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.lab.real.tools import tool_arguments
from thingwarden.lab.tool import ArpSpoof, LoginGuess, PacketFlood, PortScan, Tool

CAMERA = "10.77.0.21"


@pytest.mark.parametrize(
    "tool",
    [
        PortScan(targets=(CAMERA,)),
        PacketFlood(target=CAMERA),
        LoginGuess(target=CAMERA, service="telnet", port=23),
        ArpSpoof(victim=CAMERA, pretends="10.77.0.1"),
    ],
)
def test_defaults_are_within_the_bounds(tool: Tool, tmp_path: Path) -> None:
    assert 0.0 < tool.lasts_s <= 60.0
    assert CAMERA in tool_arguments(tool, tmp_path)
