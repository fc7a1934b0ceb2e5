"""Attackers' and administrators' programs, run for real: nmap, hping3, hydra, arpspoof.

In: a ``Tool``. Out: its argument list; ``run_tool`` runs it to its end or to its bound in time.
Must never: start a program whose target, count or rate is out of bounds, or leave it running.
Source: the order of the passwords follows Mirai's published scanner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.prefix import require_arguments_inside, require_inside
from thingwarden.lab.real.forge import flood_spoofed
from thingwarden.lab.tool import ArpSpoof, LoginGuess, PacketFlood, PortScan, Tool

MAX_PACKETS: Final = 50_000
MAX_PACKETS_PER_S: Final = 2_000
MAX_PAYLOAD_BYTES: Final = 1_400
MAX_TRIES: Final = 500
MAX_PARALLEL: Final = 16
MAX_TARGETS: Final = 4_096
MAX_LASTS_S: Final = 600.0

PASSWORDS: Final = (
    "vizxv", "admin", "888888", "xmhdipc", "default", "juantech", "123456", "54321", "support", "password", "root",
    "12345", "user", "pass", "admin1234", "1111", "smcadmin", "666666", "1234", "klv123", "Zte521", "hi3518",
    "jvbzd", "anko", "zlxx", "7ujMko0vizxv", "7ujMko0admin", "system", "ikwb", "dreambox", "realtek", "00000000",
)  # fmt: skip
"""Factory passwords; a login that should open is told one of them by its device."""

_SCAN_TECHNIQUES: Final = {
    "syn": ["-sS"],
    "connect": ["-sT"],
    "udp": ["-sU"],
    "ping": ["-sn"],
    "version": ["-sV", "--version-intensity", "2"],
    "fin": ["-sF"],
}
_HYDRA_SERVICES: Final = {"ssh": ["ssh"], "telnet": ["telnet"], "http": ["http-get", "/"], "ftp": ["ftp"]}
_SIGNS_OF_WORK: Final = {"hping3": (b"packets transmitted",), "hydra": (b"[DATA] attacking",)}
_FORWARDING: Final = {
    Path("/proc/sys/net/ipv4/conf/all/send_redirects"): "0",
    Path("/proc/sys/net/ipv4/conf/eth0/send_redirects"): "0",
    Path("/proc/sys/net/ipv4/ip_forward"): "1",
}
_STOP_GRACE_S: Final = 2.0
_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")


async def run_tool(tool: Tool, scratch: Path, rng: random.Random) -> None:
    """Run a program to its end, or kill it at its bound.

    Args:
        tool: what to run.
        scratch: folder for its word list.
        rng: draws the sources of forged packets.

    Raises:
        RequestError: out of bounds.
        ConfigError: the program is missing or says that it failed.
    """
    argv = tool_arguments(tool, scratch)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(tool.lasts_s):
            if isinstance(tool, PacketFlood) and tool.is_spoofed:
                await flood_spoofed(tool, rng)
            elif isinstance(tool, ArpSpoof):
                with _forwarding():
                    await _run(argv, scratch)
            else:
                await _run(argv, scratch)


async def _run(argv: list[str], scratch: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_DIES_WITH_US,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=scratch,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    finally:
        await _stop(process)
    if process.returncode != 0 and not _has_worked(argv[0], said):
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(argv[0], lines[-1] if lines else f"exit status {process.returncode}")


def _has_worked(program: str, said: bytes) -> bool:
    """Whether a program that ends with an error did what it was asked: one that nobody answers fails as well."""
    return any(mark in said for mark in _SIGNS_OF_WORK.get(program, ()))


@contextlib.contextmanager
def _forwarding() -> Iterator[None]:
    """Let this namespace pass on what is not for it, without telling senders of a shorter way."""
    before = {path: path.read_text(encoding="ascii") for path in _FORWARDING}
    try:
        for path, value in _FORWARDING.items():
            path.write_text(value, encoding="ascii")
        yield
    finally:
        for path, old in before.items():
            path.write_text(old, encoding="ascii")


async def _stop(process: asyncio.subprocess.Process) -> None:
    # An interrupt first: arpspoof then restores the caches that it spoilt.
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_GRACE_S):
                await process.wait()


def tool_arguments(tool: Tool, scratch: Path) -> list[str]:
    """The command line of a tool.

    Raises:
        RequestError: a target outside the lab, or a count, rate or time out of bounds.
    """
    _require_bound("seconds", tool.lasts_s, MAX_LASTS_S)
    match tool:
        case PortScan():
            argv = _scan_arguments(tool)
        case PacketFlood():
            argv = _flood_arguments(tool)
        case LoginGuess():
            argv = _guess_arguments(tool, scratch)
        case ArpSpoof():
            argv = _spoof_arguments(tool)
    require_arguments_inside(argv)
    return argv


def _scan_arguments(tool: PortScan) -> list[str]:
    for target in tool.targets:
        require_inside(target)
    _require_bound("targets", len(tool.targets), MAX_TARGETS)
    _require_bound("packets/s", tool.packets_per_s, MAX_PACKETS_PER_S)
    argv = ["nmap", "-n", "-Pn", "--max-retries", "1", "--max-rate", str(tool.packets_per_s)]
    argv += _SCAN_TECHNIQUES[tool.technique]
    if tool.technique == "ping":
        argv.remove("-Pn")
    elif tool.ports:
        argv += ["-p", tool.ports]
    else:
        argv += ["--top-ports", str(tool.top_ports)]
    if tool.is_ordered:
        argv.append("-r")
    if any(":" in target for target in tool.targets):
        argv.append("-6")
    return [*argv, *tool.targets]


def _flood_arguments(tool: PacketFlood) -> list[str]:
    require_inside(tool.target)
    if ":" in tool.target:
        raise RequestError("lab flood", f"target {tool.target}", "hping3 knows IPv4 only")
    _require_bound("packets", tool.packet_count, MAX_PACKETS)
    _require_bound("packets/s", tool.packets_per_s, MAX_PACKETS_PER_S)
    _require_bound("bytes", tool.payload_bytes + 1, MAX_PAYLOAD_BYTES)
    kinds = {"syn": ["-S"], "ack": ["-A"], "udp": ["--udp"], "icmp": ["--icmp"]}
    argv = ["hping3", "-q", "-n", *kinds[tool.kind]]
    argv += ["-c", str(tool.packet_count), "-i", f"u{round(1_000_000 / tool.packets_per_s)}"]
    if tool.kind != "icmp":
        argv += ["-p", str(tool.port)]
    if tool.payload_bytes:
        argv += ["-d", str(tool.payload_bytes)]
    if tool.source:
        require_inside(tool.source)
        argv += ["-a", tool.source]
    return [*argv, tool.target]


def _guess_arguments(tool: LoginGuess, scratch: Path) -> list[str]:
    require_inside(tool.target)
    _require_bound("tries", tool.tries, MAX_TRIES)
    _require_bound("parallel", tool.parallel, MAX_PARALLEL)
    words = scratch / f"passwords-{tool.tries}.txt"
    words.write_text("\n".join(_passwords(tool.tries)) + "\n", encoding="utf-8")
    argv = ["hydra", "-I", "-l", "root", "-P", str(words), "-t", str(tool.parallel), "-s", str(tool.port)]
    target = ["-6", f"[{tool.target}]"] if ":" in tool.target else [tool.target]
    return [*argv, "-f", *target, *_HYDRA_SERVICES[tool.service]]


def _passwords(count: int) -> list[str]:
    return [PASSWORDS[i] if i < len(PASSWORDS) else f"admin{i}" for i in range(count)]


def _spoof_arguments(tool: ArpSpoof) -> list[str]:
    require_inside(tool.victim)
    require_inside(tool.pretends)
    return ["arpspoof", "-i", "eth0", "-t", tool.victim, "-r", tool.pretends]


def _require_bound(what: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise RequestError("lab tool", f"{value:g} {what}", f"more than 0, at most {most:g}")
