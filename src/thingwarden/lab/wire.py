"""The few protocols that the lab's devices speak with code of our own: DNS, DHCP, NTP, HTTP, TLS, RTSP.

In: host names of ``SERVERS`` and addresses inside the lab. Out: real exchanges over the kernel's sockets.
Must never: send to an address that ``network.require_inside`` refuses.
Sources: RFC 1035, RFC 2131, RFC 4330, RFC 7826 (interleaved RTP).
"""

from __future__ import annotations

import ipaddress
import random
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thingwarden.lab.network import GATEWAY, require_inside

SERVERS: Final = {
    "vendor.example": "203.0.113.10",
    "plug-cloud.example": "203.0.113.11",
    "weather.example": "203.0.113.12",
    "time.example": "203.0.113.20",
    "video.example": "203.0.113.30",
    "cdn.example": "203.0.113.31",
    "news.example": "203.0.113.32",
    "shop.example": "203.0.113.80",
    "control.invalid": "198.51.100.66",
    "drop.invalid": "198.51.100.77",
}
"""Names that the gateway's resolver knows; the two ``.invalid`` ones are reached by address only."""

NTP_SERVER: Final = SERVERS["time.example"]
RTSP_PORT: Final = 554
CONNECT_TIMEOUT_S: Final = 4.0
_DNS_TIMEOUT_S: Final = 2.0
_DNS_TRIES: Final = 3
_DHCP_COOKIE: Final = b"\x63\x82\x53\x63"
_NTP_EPOCH_S: Final = 2_208_988_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the DHCP server gave."""

    address: ipaddress.IPv4Address
    server: ipaddress.IPv4Address


def resolve(name: str, rng: random.Random) -> str:
    """Ask the gateway for the address of ``name``, up to three times.

    Raises:
        OSError: nobody answered, or no such name.
    """
    labels = b"".join(struct.pack("B", len(part)) + part.encode() for part in name.split("."))
    query = struct.pack(">HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 0) + labels + b"\0" + b"\0\1\0\1"
    for attempt in range(_DNS_TRIES):
        try:
            answer = exchange(str(GATEWAY), 53, query, _DNS_TIMEOUT_S)
        except OSError:
            time.sleep(0.5 * (attempt + 1))
            continue
        if answer[:2] == query[:2] and struct.unpack_from(">H", answer, 6)[0] > 0:
            return str(ipaddress.IPv4Address(answer[-4:]))
        raise OSError(f"no address for {name}")
    raise TimeoutError(f"no answer about {name}")


def exchange(address: str, port: int, request: bytes, timeout_s: float) -> bytes:
    """Send one UDP request and return the first answer.

    Raises:
        OSError: no answer within ``timeout_s``, or the port is closed.
    """
    require_inside(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_s)
        client.connect((address, port))
        client.send(request)
        return client.recv(2048)


def announce(group: str, port: int, message: bytes) -> None:
    """Send one datagram to a link-local multicast group (mDNS, SSDP)."""
    require_inside(group)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        client.bind(("", port))
        client.sendto(message, (group, port))


def connect(address: str, port: int) -> socket.socket:
    """Open a TCP connection inside the lab.

    Raises:
        OSError: refused or timed out.
    """
    require_inside(address)
    return socket.create_connection((address, port), CONNECT_TIMEOUT_S)


def ask_time(rng: random.Random) -> float:
    """One NTP exchange with the pool of the lab's internet; Unix seconds as the server says."""
    server = resolve("time.example", rng)
    answer = exchange(server, 123, b"\x23" + b"\0" * 39 + struct.pack(">II", rng.getrandbits(32), 0), 2.0)
    return float(struct.unpack_from(">I", answer, 40)[0] - _NTP_EPOCH_S)


def time_answer(request: bytes, now_s: float) -> bytes:
    """An NTP server's answer at ``now_s`` Unix seconds to ``request`` of 48 bytes."""
    stamp = struct.pack(">II", int(now_s) + _NTP_EPOCH_S, int((now_s % 1) * 2**32))
    return b"\x24\x02\x06\xec" + b"\0" * 8 + b"GPS\0" + stamp + request[40:48] + stamp + stamp


def http(address: str, host: str, path: str, *, body: bytes | None = None) -> bytes:
    """One HTTP/1.1 request to port 80; the whole answer."""
    with connect(address, 80) as client:
        return _http_over(client, host, path, body)


def https(address: str, host: str, path: str, authority: Path, *, body: bytes | None = None) -> bytes:
    """One HTTP/1.1 request over TLS, the server checked against ``authority`` (PEM)."""
    context = ssl.create_default_context(cafile=str(authority))
    with connect(address, 443) as plain, context.wrap_socket(plain, server_hostname=host) as client:
        answer = _http_over(client, host, path, body)
        client.unwrap()
        return answer


def _http_over(client: socket.socket, host: str, path: str, body: bytes | None) -> bytes:
    verb = "GET" if body is None else "POST"
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    head = f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: thing/1.0\r\n{length}Connection: close\r\n\r\n"
    client.sendall(head.encode() + (body or b""))
    return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """Read until the peer closes or falls silent."""
    chunks = []
    try:
        while chunk := client.recv(65536):
            chunks.append(chunk)
    except TimeoutError:
        pass
    return b"".join(chunks)


def send_video(address: str, rng: random.Random, lasts_s: float, *, frames_per_s: float = 8.0) -> None:
    """Upload a clip as an RTSP camera does: the dialogue, then RTP packets interleaved in the same connection."""
    url = "rtsp://video.example/in"
    with connect(address, RTSP_PORT) as client:
        for number, verb in enumerate(("OPTIONS", "ANNOUNCE", "SETUP", "RECORD"), start=1):
            client.sendall(f"{verb} {url} RTSP/1.0\r\nCSeq: {number}\r\nUser-Agent: cam/2.1\r\n\r\n".encode())
            client.recv(1024)
        ends_at_s = time.monotonic() + lasts_s
        sequence = rng.randrange(60000)
        while time.monotonic() < ends_at_s:
            is_key_frame = sequence % 16 == 0
            for _ in range(rng.randint(6, 9) if is_key_frame else 1):
                client.sendall(_rtp_packet(rng, sequence, 1200 if is_key_frame else rng.randint(300, 1200)))
            sequence += 1
            time.sleep(rng.uniform(0.8, 1.2) / frames_per_s)
        client.sendall(f"TEARDOWN {url} RTSP/1.0\r\nCSeq: 5\r\n\r\n".encode())
        client.recv(1024)


def _rtp_packet(rng: random.Random, sequence: int, payload_bytes: int) -> bytes:
    header = struct.pack(">BBHII", 0x80, 96, sequence & 0xFFFF, sequence * 11250, 0x7A6B5C4D)
    return struct.pack(">cBH", b"$", 0, 12 + payload_bytes) + header + rng.randbytes(payload_bytes)


def request_lease(mac: str, rng: random.Random, *, tries: int = 4) -> Lease:
    """Get an address by DHCP on eth0, which needs none for it.

    Raises:
        OSError: no server answered.
    """
    transaction = rng.getrandbits(32)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        client.bind(("", 68))
        client.settimeout(2.0)
        for _ in range(tries):
            try:
                offer = _dhcp_round(client, transaction, mac, b"\x35\x01\x01")
                wish = b"\x35\x01\x03\x32\x04" + offer.address.packed + b"\x36\x04" + offer.server.packed
                return _dhcp_round(client, transaction, mac, wish)
            except TimeoutError:
                continue
    raise TimeoutError("no DHCP server answered")


def _dhcp_round(client: socket.socket, transaction: int, mac: str, options: bytes) -> Lease:
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(">BBBBIHH16s16s", 1, 1, 6, 0, transaction, 0, 0x8000, b"", hardware)
    client.sendto(head + b"\0" * 192 + _DHCP_COOKIE + options + b"\xff", ("255.255.255.255", 67))
    while True:
        answer = client.recv(2048)
        if len(answer) >= 240 and struct.unpack_from(">I", answer, 4)[0] == transaction:
            return Lease(address=ipaddress.IPv4Address(answer[16:20]), server=GATEWAY)
