"""UDP sockets of the real world, as behaviours see them.

In: a port and multicast groups. Out: ``RealDatagrams``.
Must never: send to an address that the guard refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

LAN_INTERFACE: Final = "eth0"
_UNREAD_COUNT: Final = 1024
_DATAGRAM_BYTES: Final = 65535
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_EXTRA_BYTES: Final = 128
_PEER_COUNT: Final = 4096
_MDNS_HOPS: Final = 255
_SSDP_HOPS: Final = 4
_MDNS_PORT: Final = 5353


class RealDatagrams:
    """A UDP socket that learns of closed ports.

    Args:
        guard: refuses addresses to send to.
        port: to bind to on every address; 0 is any.
        groups: multicast groups to join on ``LAN_INTERFACE``.
        is_v6: whether it speaks IPv6 and not IPv4.
        has_many_addresses: whether an answer must say from which address, for it would come from another one.
        on_received: told every datagram before it is handed out.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        guard: Callable[[str], None],
        port: int,
        groups: tuple[str, ...],
        *,
        is_v6: bool,
        has_many_addresses: bool = False,
        on_received: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._guard = guard
        self._on_received = on_received
        self._unread: deque[tuple[str, int, bytes] | OSError] = deque(maxlen=_UNREAD_COUNT)
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_v6 = is_v6
        self._asked: OrderedDict[tuple[str, int], bytes] | None = OrderedDict() if has_many_addresses else None
        self._socket = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._prepare(groups, port)
            self._socket.bind(("::" if is_v6 else "", port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._take)

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    async def send(self, address: str, port: int, data: bytes) -> None:
        """Send one datagram.

        Raises:
            RequestError: the address is outside the lab.
            OSError: unreachable, or an earlier datagram's port was found closed.
        """
        self._guard(address)
        with contextlib.suppress(BlockingIOError):  # a full queue loses datagrams on a real device as well
            self._socket.sendmsg([data], self._claim(address, port), 0, (address, port))

    async def receive(self, timeout_s: float | None = None) -> tuple[str, int, bytes]:
        """Address, port and content of the next datagram.

        Raises:
            TimeoutError: none came within ``timeout_s``.
            OSError: the peer's port is closed, or this socket.
        """
        async with asyncio.timeout(timeout_s):
            while not self._unread:
                self._news.clear()
                await self._news.wait()
        item = self._unread.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def close(self) -> None:
        """Close the socket; who waits for a datagram learns it."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._note(OSError("the socket is closed"))

    def _prepare(self, groups: tuple[str, ...], port: int) -> None:
        if self._is_v6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if self._asked is not None:
            level, option = (
                (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO) if self._is_v6 else (socket.IPPROTO_IP, _IP_PKTINFO)
            )
            self._socket.setsockopt(level, option, 1)
        if groups:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hops = _MDNS_HOPS if port == _MDNS_PORT else _SSDP_HOPS
        with contextlib.suppress(OSError):  # services and loopback have no such interface
            self._aim_at_lan(groups, socket.if_nametoindex(LAN_INTERFACE), hops)

    def _aim_at_lan(self, groups: tuple[str, ...], interface: int, hops: int) -> None:
        if self._is_v6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _MDNS_HOPS)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            for group in groups:
                membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", interface)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            return
        nowhere = socket.inet_aton("0.0.0.0")  # noqa: S104  the interface is chosen by its number
        chosen = struct.pack("@4s4si", nowhere, nowhere, interface)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, chosen)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        for group in groups:
            membership = struct.pack("@4s4si", socket.inet_aton(group), nowhere, interface)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def bind_to_lan(self) -> None:
        """Send through the LAN's interface also while it has no address, as DHCP must."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LAN_INTERFACE.encode() + b"\0")

    def _take(self) -> None:
        try:
            data, extras, _, sender = self._socket.recvmsg(_DATAGRAM_BYTES, _EXTRA_BYTES)
        except BlockingIOError:
            self._drop_reports()
        except OSError as error:
            self._drop_reports()
            self._note(error)
        else:
            peer = sender[0].partition("%")[0], sender[1]
            self._remember(peer, extras)
            self._on_received(data)
            self._note((*peer, data))

    def _remember(self, peer: tuple[str, int], extras: list[tuple[int, int, bytes]]) -> None:
        if self._asked is None:
            return
        for _, kind, value in extras:
            if kind in (_IP_PKTINFO, _IPV6_PKTINFO):
                self._asked[peer] = value
                if len(self._asked) > _PEER_COUNT:
                    self._asked.popitem(last=False)

    def _claim(self, address: str, port: int) -> list[tuple[int, int, bytes]]:
        """What makes an answer come from the address that was asked."""
        asked = self._asked.get((address, port)) if self._asked is not None else None
        if asked is None:
            return []
        if self._is_v6:
            return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, asked)]
        return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + asked[4:8] + bytes(4))]

    def _drop_reports(self) -> None:
        # The error itself is told by the next call; its report would keep the socket readable for ever.
        with contextlib.suppress(OSError):
            while True:
                self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)

    def _note(self, item: tuple[str, int, bytes] | OSError) -> None:
        self._unread.append(item)
        self._news.set()
