"""A capture writer: packets of one interface from the kernel's ring into a pcap file.

In: an interface of this namespace. Out: a pcap file with the kernel's timestamps; at SIGTERM, counts as a line of JSON.
Must never: run outside a lab's namespace.
Source: packet_mmap of the Linux kernel's documentation (TPACKET_V3). It exists because tcpdump insists on changing its
groups, which a user namespace with one user forbids.
"""

from __future__ import annotations

import json
import mmap
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final

from thingwarden.lab.real.network import require_namespace

READY: Final = "capturing"
_BLOCK_BYTES: Final = 1 << 20
_BLOCK_COUNT: Final = 16
_FRAME_BYTES: Final = 2048
_RETIRE_MS: Final = 50
_POLL_MS: Final = 200
_EVERY_PROTOCOL: Final = 0x0003
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_PACKET_MR_PROMISC: Final = 1
_TPACKET_V3: Final = 2
_STATUS_OFFSET: Final = 8
_FILE_HEAD: Final = struct.Struct("<IHHiIII")
_MICROSECOND_MAGIC: Final = 0xA1B2C3D4
_ETHERNET: Final = 1
_BLOCK_HEAD: Final = struct.Struct("=III")
_PACKET_HEAD: Final = struct.Struct("=IIIIIIHH")
_RECORD_HEAD: Final = struct.Struct("<IIII")


def capture_arguments(interface: str, path: Path, snap_bytes: int) -> list[str]:
    """The command line of this program: writes to ``path`` what ``interface`` sees, ``snap_bytes`` of each packet."""
    return [sys.executable, "-m", "thingwarden.lab.real.capture", interface, str(path), str(snap_bytes)]


class Capture:
    """The kernel's ring of one interface, in promiscuous mode.

    Args:
        interface: of this namespace.
        snap_bytes: kept of each packet.

    Raises:
        OSError: no such interface, or no right to listen.
    """

    def __init__(self, interface: str, snap_bytes: int) -> None:
        self._snap_bytes = snap_bytes
        self._end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._end.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frame_count = _BLOCK_BYTES // _FRAME_BYTES * _BLOCK_COUNT
        wanted = struct.pack("IIIIIII", _BLOCK_BYTES, _BLOCK_COUNT, _FRAME_BYTES, frame_count, _RETIRE_MS, 0, 0)
        self._end.setsockopt(_SOL_PACKET, _PACKET_RX_RING, wanted)
        self._ring = mmap.mmap(self._end.fileno(), _BLOCK_BYTES * _BLOCK_COUNT)
        self._end.bind((interface, _EVERY_PROTOCOL))
        membership = struct.pack("iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
        self._end.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        self._next_block = 0
        self._is_stopped = False
        self.written_count = 0

    def write_to(self, sink: BinaryIO) -> None:
        """Write packets until ``stop``, then those still in the ring."""
        sink.write(_FILE_HEAD.pack(_MICROSECOND_MAGIC, 2, 4, 0, 0, self._snap_bytes, _ETHERNET))
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN | select.POLLERR)
        while not self._is_stopped:
            waiting.poll(_POLL_MS)
            self._drain(sink)
        # The kernel hands over a block that is not full once its time is up.
        waiting.poll(2 * _RETIRE_MS)
        self._drain(sink)

    def stop(self) -> None:
        """Make ``write_to`` return soon."""
        self._is_stopped = True

    def dropped_count(self) -> int:
        """Packets that the ring had no room for, since the last question."""
        _, dropped_count, _ = struct.unpack("III", self._end.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        return int(dropped_count)

    def _drain(self, sink: BinaryIO) -> None:
        while True:
            start = self._next_block * _BLOCK_BYTES
            status, packet_count, first_offset = _BLOCK_HEAD.unpack_from(self._ring, start + _STATUS_OFFSET)
            if not status & 1:
                break
            sink.write(b"".join(self._records(start + first_offset, packet_count)))
            struct.pack_into("=I", self._ring, start + _STATUS_OFFSET, 0)
            self._next_block = (self._next_block + 1) % _BLOCK_COUNT
        sink.flush()

    def _records(self, offset: int, packet_count: int) -> list[bytes]:
        records: list[bytes] = []
        for _ in range(packet_count):
            step, at_s, at_ns, captured, length, _, data, _ = _PACKET_HEAD.unpack_from(self._ring, offset)
            kept = min(captured, self._snap_bytes)
            records.append(_RECORD_HEAD.pack(at_s, at_ns // 1000, kept, length))
            records.append(self._ring[offset + data : offset + data + kept])
            offset += step
        self.written_count += packet_count
        return records


def main() -> None:
    """Capture as the arguments say until SIGTERM, then say what was written and what was missed."""
    require_namespace()
    interface, path, snap_bytes = sys.argv[1:]
    capture = Capture(interface, int(snap_bytes))

    def stop(number: int, frame: FrameType | None) -> None:
        capture.stop()

    signal.signal(signal.SIGTERM, stop)
    print(READY, flush=True)  # noqa: T201  the lab waits for it
    with Path(path).open("wb") as sink:
        capture.write_to(sink)
    said = {"packets": capture.written_count, "dropped_packets": capture.dropped_count()}
    print(json.dumps(said), flush=True)  # noqa: T201  the lab reads it


if __name__ == "__main__":
    main()
