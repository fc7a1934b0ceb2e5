"""Packets of an interface as they pass, from a ring that the kernel writes.

In: an interface's name. Out: ``PacketsRead``, with the kernel's timestamps; counts, also of what found no room.
Must never: send a packet, trust a length in the ring beyond its block, or make an object per packet.
Source: packet_mmap of the Linux kernel's documentation (TPACKET_V3).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

import numpy as np

from thingwarden.domain.errors import ConfigError, InputError, RequestError
from thingwarden.domain.link_layer import LinkBatch
from thingwarden.domain.packet import PacketBatch, PacketsRead
from thingwarden.ingest.gather import wide
from thingwarden.ingest.link_header import LINK_ETHERNET, LINK_RAW
from thingwarden.ingest.link_layer import decode_link_layer
from thingwarden.ingest.packet_filter import INSTRUCTION_BYTES, compile_filter
from thingwarden.ingest.packets import PADDING_BYTES, FrameBatch, decode_layers, decode_packets

BLOCK_BYTES: Final = 1 << 14
BLOCK_COUNT: Final = 1024
"""16 MiB, more than three seconds of 20,000 small packets a second; as many blocks as a second has at ``RETIRE_MS``."""

RETIRE_MS: Final = 1
"""A block that is not full is handed over after this time: about the most that a packet waits in the ring."""

SNAP_BYTES: Final = 256
"""Kept of each frame: two tags, the longest IPv4 and TCP headers and the payload that names a protocol take 186."""

BLOCKS_PER_READ: Final = 128
"""At most some 16,000 small packets are read at a time."""

_FRAME_BYTES: Final = 2048
_NO_PROTOCOL, _EVERY_PROTOCOL = 0x0000, 0x0003
"""Bound to none, a socket knows its interface and gets nothing of it yet."""
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_RX_RING: Final = 5
_STATISTICS: Final = 6
_VERSION: Final = 10
_IGNORE_OUTGOING: Final = 23
_PROMISCUOUS: Final = 1
_TPACKET_V3: Final = 2
_SO_ATTACH_FILTER: Final = 26
_RETURN_CONSTANT: Final = 0x06
_STATUS_OFFSET: Final = 8
_BLOCK_HEAD: Final = struct.Struct("=IIII")  # status, packets, offset of the first, bytes
_PACKET_HEAD_BYTES: Final = 48
_NEXT: Final = struct.Struct("=I")
_LOOPBACK: Final = 772
_LINK_TYPES: Final = {1: LINK_ETHERNET, _LOOPBACK: LINK_ETHERNET, 65534: LINK_RAW}
"""Link types by the kernel's hardware types: Ethernet, loopback, tunnels without a link layer."""

_UNSEEN_S: Final = 0.02
"""What lies in a block that is not yet handed over is younger; older kernels retire blocks by a coarser clock."""

_REBIND_S: Final = 1.0


class LiveSource:
    """The ring of one interface, in promiscuous mode; a ``PacketSource``.

    On the loopback interface, where every packet passes twice, those going out are left out.

    Args:
        interface: its name.
        expression: frames that do not fit this filter stay out, in the language of tcpdump; None takes all.
        hear_link: told what the frames say about the link; None where nobody listens.
        clock: Unix seconds, the clock that the kernel stamps packets by.

    Raises:
        RequestError: there is no such interface, it is of a link type that cannot be decoded, or the filter is none.
        ConfigError: this process may not listen.
    """

    def __init__(
        self,
        interface: str,
        *,
        expression: str | None = None,
        hear_link: Callable[[LinkBatch], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._interface, self._hear_link, self._clock = interface, hear_link, clock
        self._end = _open_end(interface)
        self._link_type = self._bind(expression)
        self._ring = mmap.mmap(self._end.fileno(), BLOCK_BYTES * BLOCK_COUNT)
        self._waiting = select.poll()
        self._waiting.register(self._end, select.POLLIN | select.POLLERR)
        self._counts: Counter[str] = Counter()
        self._next_block, self._dropped_count, self._unbound_at_s = 0, 0, -1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ring back; safe to call twice."""
        self._ring.close()
        self._end.close()

    @property
    def counts(self) -> Mapping[str, int]:
        """What was read and what was left out, by reason; ``frames`` and ``packets`` among them."""
        return {reason: count for reason, count in self._counts.items() if count}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the source: nothing that the counts do not say."""
        return ()

    @property
    def dropped_count(self) -> int:
        """Packets that the ring had no room for, so far, as the kernel counts them."""
        _, dropped_count, _ = struct.unpack("III", self._end.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        self._dropped_count += int(dropped_count)
        return self._dropped_count

    @property
    def is_down(self) -> bool:
        """Whether the interface went away or down; it is waited for."""
        return self._unbound_at_s >= 0

    def read(self, wait_s: float) -> PacketsRead:
        """The packets that came; waits for so many seconds at most, and goes on waiting for an interface that left."""
        if not self._is_ready():
            self._wait(wait_s)
        frames = self._frames()
        if frames is None:
            return PacketsRead(packets=PacketBatch.empty(), upto_s=self._clock() - _UNSEEN_S)
        packets = self._decode(frames)
        return PacketsRead(packets=packets, upto_s=float(frames.at_s.max()))

    def _bind(self, expression: str | None = None) -> int:
        """Listen on the interface, through a filter where one is given (it stays); its link type."""
        try:
            self._end.bind((self._interface, _NO_PROTOCOL))
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise RequestError(
                    f"interface {self._interface}",
                    "there is none of that name",
                    f"one of {', '.join(interface_names())}",
                ) from error
            raise ConfigError(f"interface {self._interface}", error.strerror or str(error), "ip link show") from error
        hardware = int(self._end.getsockname()[3])
        if hardware not in _LINK_TYPES:
            known = ", ".join(str(number) for number in sorted(_LINK_TYPES))
            raise RequestError(f"interface {self._interface}", f"hardware type {hardware}, expected one of {known}")
        if expression is not None:
            _attach(self._end, compile_filter(expression, _LINK_TYPES[hardware], SNAP_BYTES))
        self._end.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, int(hardware == _LOOPBACK))
        membership = struct.pack("iHH8s", socket.if_nametoindex(self._interface), _PROMISCUOUS, 0, b"")
        self._end.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
        self._end.bind((self._interface, _EVERY_PROTOCOL))
        return _LINK_TYPES[hardware]

    def _wait(self, wait_s: float) -> None:
        """Wait for a block; where the interface is gone, try once a second whether it is back."""
        if self.is_down and time.monotonic() - self._unbound_at_s >= _REBIND_S:
            try:
                self._bind()
                self._unbound_at_s = -1.0
            except (RequestError, ConfigError):
                self._unbound_at_s = time.monotonic()
        for _, happened in self._waiting.poll(wait_s * 1000):
            if happened & select.POLLERR:
                self._end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._unbound_at_s = time.monotonic()

    def _is_ready(self) -> bool:
        (status,) = _NEXT.unpack_from(self._ring, self._next_block * BLOCK_BYTES + _STATUS_OFFSET)
        return bool(status & 1)

    def _frames(self) -> FrameBatch | None:
        """The frames of the blocks that are ready, copied, and these given back; None where none is ready."""
        parts: list[bytes] = []
        heads: list[int] = []
        filled_bytes = 0
        while len(parts) < BLOCKS_PER_READ and self._is_ready():
            start = self._next_block * BLOCK_BYTES
            _, packet_count, first, block_bytes = _BLOCK_HEAD.unpack_from(self._ring, start + _STATUS_OFFSET)
            block = self._ring[start : start + min(block_bytes, BLOCK_BYTES)]
            _NEXT.pack_into(self._ring, start + _STATUS_OFFSET, 0)
            self._next_block = (self._next_block + 1) % BLOCK_COUNT
            heads += _packet_heads(block, packet_count, first, filled_bytes)
            parts.append(block)
            filled_bytes += len(block)
        if not heads:
            return None
        buffer = np.frombuffer(b"".join([*parts, bytes(PADDING_BYTES)]), dtype=np.uint8)
        at = np.array(heads, dtype=np.int64)
        words = wide(buffer, at, 28, "=u4").astype(np.int64)  # (n, 7): next, s, ns, captured, length, status, mac
        starts = np.minimum(at + (words[:, 6] & 0xFFFF), filled_bytes)
        return FrameBatch(
            buffer=buffer,
            starts=starts,
            captured_bytes=np.minimum(words[:, 3], filled_bytes - starts),
            at_s=words[:, 1] + words[:, 2] * 1e-9,
            link_type=self._link_type,
        )

    def _decode(self, frames: FrameBatch) -> PacketBatch:
        layers = decode_layers(frames, self._counts)
        if self._hear_link is not None:
            said = decode_link_layer(layers, self._counts)
            if len(said):
                self._hear_link(said)
        packets = decode_packets(layers, self._counts)
        self._counts["frames"] += len(frames)
        self._counts["packets"] += len(packets)
        return packets


def interface_names() -> list[str]:
    """The interfaces of this network namespace."""
    return sorted(name for _, name in socket.if_nameindex())


def _open_end(interface: str) -> socket.socket:
    """A packet socket with its ring, not yet bound, so that nothing of other interfaces comes in."""
    try:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise ConfigError(
            f"interface {interface}",
            "listening needs the capability CAP_NET_RAW, which this process lacks",
            "run it as root, or: setpriv --ambient-caps +net_raw --inh-caps +net_raw thingwarden watch -i IFACE",
        ) from error
    end.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
    _attach(end, struct.pack("=HBBI", _RETURN_CONSTANT, 0, 0, SNAP_BYTES))
    frame_count = BLOCK_BYTES // _FRAME_BYTES * BLOCK_COUNT
    wanted = struct.pack("IIIIIII", BLOCK_BYTES, BLOCK_COUNT, _FRAME_BYTES, frame_count, RETIRE_MS, 0, 0)
    try:
        end.setsockopt(_SOL_PACKET, _RX_RING, wanted)
    except OSError as error:
        raise ConfigError(
            f"interface {interface}", f"no memory for its ring: {error.strerror}", "free 16 MiB of memory"
        ) from error
    return end


def _attach(end: socket.socket, program: bytes) -> None:
    """Have the kernel choose by a program, instead of any before it."""
    kept = ctypes.create_string_buffer(program, len(program))
    count = len(program) // INSTRUCTION_BYTES
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(kept)))


def _packet_heads(block: bytes, packet_count: int, first: int, offset: int) -> list[int]:
    """Where the heads of a block's packets lie, plus ``offset``; the chain is left where it would leave the block."""
    heads: list[int] = []
    append, unpack = heads.append, _NEXT.unpack_from
    at, last = first, len(block) - _PACKET_HEAD_BYTES
    for _ in range(packet_count):
        if not 0 < at <= last:
            raise InputError("the kernel's ring", f"a packet at byte {at} of a block of {len(block)}")
        append(offset + at)
        at += unpack(block, at)[0]
    return heads
