"""A gateway between two devices and the outside, each a network namespace of its own, held by this process alone.

In: nothing. Out: sockets inside them; the calling thread stands in the gateway's.
Must never: touch the machine's own network, or leave anything behind.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NEW_NET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

MACS: Final = {"camera": "02:09:00:00:00:10", "lamp": "02:09:00:00:00:11"}
ADDRESSES: Final = {
    "camera": ("10.9.0.10", "fd09::10"),
    "lamp": ("10.9.0.11", "fd09::11"),
    "outside": ("10.0.0.1", "fd00::1"),
    "other": ("10.0.0.17", "fd00::17"),
}
PORTS: Final = (6667, 8080)


def enter(descriptor: int) -> None:
    """Move the calling thread into a network namespace."""
    if _LIBC.setns(descriptor, _NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def own_network() -> Iterator[int]:
    """Have the calling thread in a fresh network namespace; its descriptor."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if _LIBC.unshare(_NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    fresh = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield fresh
    finally:
        enter(before)
        os.close(before)
        os.close(fresh)


def run(*argv: str) -> str:
    """What a program says where the calling thread stands."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=10).stdout


@dataclass
class SmallNetwork:
    """The namespaces by name, and echo servers outside."""

    spaces: dict[str, int]
    stack: ExitStack
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Stand in another namespace for a while."""
        enter(self.spaces[name])
        try:
            yield
        finally:
            enter(self.spaces["gateway"])

    def probe(self, device: str, peer: str, port: int = PORTS[0], proto: str = "udp", version: int = 4) -> bool:
        """Whether a device gets an answer from a server."""
        with self.talk(device, peer, port, proto, version) as talk:
            return talk is not None and answers(talk)

    @contextmanager
    def talk(
        self, device: str, peer: str, port: int = PORTS[0], proto: str = "tcp", version: int = 4
    ) -> Iterator[socket.socket | None]:
        """A connection from a device; None where it cannot be made."""
        with self.inside(device):
            kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
            opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
        with opened:
            opened.settimeout(0.25)
            try:
                opened.connect((ADDRESSES[peer][version == 6], port))
            except OSError:
                yield None
                return
            yield opened

    def settle(self) -> None:
        """Wait until every device has found its way by both families."""
        for device, version in ((device, version) for device in MACS for version in (4, 6)):
            for _ in range(40):
                if self.probe(device, "outside", version=version) and self.probe(device, "other", version=version):
                    break
            else:
                raise TimeoutError(f"{device} never got through by IPv{version}")

    def serve(self) -> None:
        """Echo on every address outside."""
        listeners: dict[socket.socket, bool] = {}
        with self.inside("outside"):
            for family, port in ((f, p) for f in (socket.AF_INET, socket.AF_INET6) for p in PORTS):
                for name in ("outside", "other"):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        opened = self.stack.enter_context(socket.socket(family, kind))
                        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        opened.bind((ADDRESSES[name][family == socket.AF_INET6], port))
                        if kind == socket.SOCK_STREAM:
                            opened.listen()
                        listeners[opened] = kind == socket.SOCK_STREAM
        thread = threading.Thread(target=self._echo, args=(listeners,), daemon=True)
        thread.start()
        self.stack.callback(lambda: (self.stopped.set(), thread.join(5)))

    def _echo(self, listeners: dict[socket.socket, bool]) -> None:
        streams: set[socket.socket] = set()
        while not self.stopped.is_set():
            for ready in select.select([*listeners, *streams], [], [], 0.05)[0]:
                with suppress(OSError):
                    if ready in streams:
                        data = ready.recv(2000)
                        if data:
                            ready.sendall(data)
                        else:
                            streams.discard(ready)
                            ready.close()
                    elif listeners[ready]:
                        streams.add(ready.accept()[0])
                    else:
                        data, sender = ready.recvfrom(2000)
                        ready.sendto(data, sender)
        for stream in streams:
            stream.close()


def answers(talk: socket.socket, text: bytes = b"are you there") -> bool:
    """Whether the other end of a connection echoes."""
    try:
        talk.send(text)
        return talk.recv(2000) == text
    except OSError:
        return False


@contextmanager
def small_network() -> Iterator[SmallNetwork]:
    """Two devices on a bridge of the gateway, and the outside behind it; the thread stands in the gateway."""
    with ExitStack() as stack:
        spaces: dict[str, int] = {}
        for name in ("camera", "lamp", "outside"):
            with own_network() as fresh:
                spaces[name] = os.dup(fresh)
            stack.callback(os.close, spaces[name])
        spaces["gateway"] = stack.enter_context(own_network())
        network = SmallNetwork(spaces, stack)
        run("ip", "link", "add", "lan", "type", "bridge")
        for name in ("camera", "lamp", "outside"):
            run("ip", "link", "add", f"to_{name}", "type", "veth", "peer", "name", "port0")
            run("ip", "link", "set", "port0", "netns", f"/proc/{os.getpid()}/fd/{spaces[name]}")
            if name != "outside":
                run("ip", "link", "set", f"to_{name}", "master", "lan")
        _address("lan", "10.9.0.254/24", "fd09::fe/64")
        _address("to_outside", "10.0.0.254/24", "fd00::fe/64")
        for name in ("to_camera", "to_lamp", "lo"):
            run("ip", "link", "set", name, "up")
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", path).write_text("1", encoding="ascii")
        for name in ("camera", "lamp", "outside"):
            with network.inside(name):
                _join(name)
        network.serve()
        network.settle()
        yield network


def _address(device: str, address: str, address6: str) -> None:
    run("ip", "address", "add", address, "dev", device)
    run("ip", "address", "add", address6, "dev", device, "nodad")
    run("ip", "link", "set", device, "up")


def _join(name: str) -> None:
    if name in MACS:
        run("ip", "link", "set", "port0", "address", MACS[name])
    for own in (name,) if name in MACS else ("outside", "other"):
        _address("port0", ADDRESSES[own][0] + "/24", ADDRESSES[own][1] + "/64")
    near = "9" if name in MACS else "0"
    run("ip", "route", "add", "default", "via", f"10.{near}.0.254")
    run("ip", "-6", "route", "add", "default", "via", f"fd0{near}::fe")
