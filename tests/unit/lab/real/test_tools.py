"""Command lines of attackers' tools: what they ask for, and what they never may."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.real import tools
from thingwarden.lab.real.tools import MAX_PACKETS, run_tool, tool_arguments
from thingwarden.lab.tool import ArpSpoof, LoginGuess, PacketFlood, PortScan, Tool


def arguments(tool: Tool, scratch: Path) -> str:
    """The command line as one text."""
    return " ".join(tool_arguments(tool, scratch))


def test_scans(tmp_path: Path) -> None:
    scan = PortScan(targets=("10.77.0.2", "10.77.0.0/28"), ports="23,2323", packets_per_s=50, is_ordered=True)
    assert arguments(scan, tmp_path) == (
        "nmap -n -Pn --max-retries 1 --max-rate 50 -sS -p 23,2323 -r 10.77.0.2 10.77.0.0/28"
    )
    sweep = arguments(PortScan(targets=("2001:db8:77::/120",), technique="ping"), tmp_path)
    assert "-sn" in sweep
    assert "-Pn" not in sweep
    assert "-6" in sweep
    assert "--top-ports" not in sweep


def test_floods(tmp_path: Path) -> None:
    flood = PacketFlood(target="203.0.113.80", kind="udp", port=53, packets_per_s=200, payload_bytes=40)
    assert arguments(flood, tmp_path) == "hping3 -q -n --udp -c 2000 -i u5000 -p 53 -d 40 203.0.113.80"
    reflected = PacketFlood(target="198.51.100.91", kind="icmp", source="10.77.0.9")
    assert arguments(reflected, tmp_path).endswith("-a 10.77.0.9 198.51.100.91")


def test_guesses_write_their_words_down(tmp_path: Path) -> None:
    guess = LoginGuess(target="10.77.0.21", service="telnet", port=2323, tries=40, parallel=3)
    words = tmp_path / "passwords-40.txt"
    assert arguments(guess, tmp_path) == f"hydra -I -l root -P {words} -t 3 -s 2323 -f 10.77.0.21 telnet"
    assert len(set(words.read_text(encoding="utf-8").split())) == 40


@pytest.mark.parametrize(
    "tool",
    [
        PortScan(targets=("9.9.9.9",)),
        PortScan(targets=("10.77.0.0/16",)),
        PortScan(targets=("10.77.0.2",), packets_per_s=1e9),
        PortScan(targets=("10.77.0.2",), lasts_s=1e9),
        PortScan(targets=()),
        PacketFlood(target="9.9.9.9"),
        PacketFlood(target="2001:db8:77::5"),
        PacketFlood(target="10.77.0.2", packet_count=MAX_PACKETS + 1),
        PacketFlood(target="10.77.0.2", payload_bytes=9000),
        PacketFlood(target="10.77.0.2", source="9.9.9.9"),
        LoginGuess(target="9.9.9.9", service="ssh", port=22),
        LoginGuess(target="10.77.0.2", service="ssh", port=22, tries=10**6),
        ArpSpoof(victim="10.77.0.2", pretends="9.9.9.9"),
    ],
)
def test_what_is_out_of_bounds_is_refused(tool: Tool, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        tool_arguments(tool, tmp_path)


def run_python(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasts_s: float = 5.0) -> None:
    """Let a Python program stand in for nmap."""
    monkeypatch.setattr(tools, "tool_arguments", lambda *_: [sys.executable, "-c", code])
    scan = PortScan(targets=("10.77.0.2",), lasts_s=lasts_s)
    asyncio.run(run_tool(scan, tmp_path, random.Random(1)))


def test_a_tool_is_stopped_at_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began_at_s = time.monotonic()
    run_python("import time; time.sleep(60)", tmp_path, monkeypatch, lasts_s=0.4)
    assert 0.3 < time.monotonic() - began_at_s < 5.0


def test_a_tool_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such thing"):
        run_python("import sys; sys.exit('no such thing')", tmp_path, monkeypatch)
