"""An emulator of slow, lossy links in user space, for kernels without netem: one process for all links of a lab.

In: a JSON description of links, each between two interfaces of this namespace. Out: frames passed on, late, in order or
not, or never; at SIGTERM a line of JSON that counts what happened.
Must never: run outside a lab's namespace, or pass a frame to any interface but the other end of its link.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import random
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any, Final

from thingwarden.lab.condition import Link
from thingwarden.lab.real.network import require_namespace

QUEUE_LIMIT_COUNT: Final = 1000
"""Packets on their way in one direction, as netem's usual limit; what comes beyond is dropped."""

READY: Final = "relaying"
_READS_AT_ONCE: Final = 64
_FRAME_BYTES: Final = 65_536
_BUFFER_BYTES: Final = 4 << 20
_IDLE_S: Final = 0.5
_EVERY_PROTOCOL: Final = 0x0003
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_IGNORE_OUTGOING: Final = 23


class Direction:
    """What one direction of a link does to packets, decided when each arrives.

    Args:
        link: its condition.
        seed: of its chances.
    """

    def __init__(self, link: Link, seed: str) -> None:
        self._link = link
        self._rng = random.Random(seed)  # noqa: S311  shapes traffic and guards nothing
        self._free_at_s = 0.0
        self._last_due_s = 0.0
        self._waiting_count = 0
        self.passed_count = 0
        self.lost_count = 0
        self.overflowed_count = 0

    def admit(self, at_s: float, frame_bytes: int) -> float | None:
        """When a frame that arrives at ``at_s`` leaves, in the same clock; None where it is dropped."""
        link = self._link
        if self._waiting_count >= QUEUE_LIMIT_COUNT:
            self.overflowed_count += 1
            return None
        if link.loss_ratio and self._rng.random() < link.loss_ratio:
            self.lost_count += 1
            return None
        self._waiting_count += 1
        sent_at_s = max(at_s, self._free_at_s)
        if link.rate_mbps:
            sent_at_s += frame_bytes * 8 / (link.rate_mbps * 1e6)
            self._free_at_s = sent_at_s
        if link.reorder_ratio and self._rng.random() < link.reorder_ratio:
            return sent_at_s
        delay_ms = self._rng.gauss(link.delay_ms, link.jitter_ms) if link.jitter_ms else link.delay_ms
        self._last_due_s = max(sent_at_s + max(0.0, delay_ms) / 1e3, self._last_due_s)
        return self._last_due_s

    def note_left(self) -> None:
        """A frame that was admitted has left."""
        self._waiting_count -= 1
        self.passed_count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnds:
    """A link to emulate: its name, its two interfaces, and what it does in either direction."""

    name: str
    far: str
    near: str
    link: Link


def to_json(links: Sequence[LinkEnds], seed: str) -> str:
    """The description that this program is given."""
    return json.dumps({"seed": seed, "links": [asdict(link) for link in links]})


def from_json(text: str) -> tuple[list[LinkEnds], str]:
    """The links and the seed of a description."""
    content: dict[str, Any] = json.loads(text)
    links = [LinkEnds(**{**entry, "link": Link(**entry["link"])}) for entry in content["links"]]
    return links, str(content["seed"])


class Relay:
    """Carries frames between the ends of links until it is stopped."""

    def __init__(self, links: Sequence[LinkEnds], seed: str) -> None:
        self._directions: dict[str, Direction] = {}
        self._ways: dict[socket.socket, tuple[Direction, socket.socket]] = {}
        for link in links:
            far, near = _open_end(link.far), _open_end(link.near)
            inward = Direction(link.link, f"{seed}:{link.name}:in")
            outward = Direction(link.link, f"{seed}:{link.name}:out")
            self._directions.update({f"{link.name} in": inward, f"{link.name} out": outward})
            self._ways.update({far: (inward, near), near: (outward, far)})
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, bytes, Direction, socket.socket]] = []
        self._is_stopped = False

    def run(self) -> None:
        """Carry frames until ``stop``."""
        ends = list(self._ways)
        while not self._is_stopped:
            wait_s = self._waiting[0][0] - time.monotonic() if self._waiting else _IDLE_S
            # select waits in microseconds, where epoll would round to milliseconds.
            readable, _, _ = select.select(ends, [], [], min(max(0.0, wait_s), _IDLE_S))
            for end in readable:
                self._take_in(end)
            self._let_go(time.monotonic())

    def stop(self) -> None:
        """Make ``run`` return soon."""
        self._is_stopped = True

    def counts(self) -> dict[str, dict[str, int]]:
        """By direction: frames passed, lost by chance, dropped at a full queue; ``missed`` came too fast to be read."""
        counts = {
            name: {
                "passed": direction.passed_count,
                "lost": direction.lost_count,
                "overflowed": direction.overflowed_count,
            }
            for name, direction in self._directions.items()
        }
        return {**counts, "all": {"missed": sum(_missed_count(end) for end in self._ways)}}

    def _take_in(self, end: socket.socket) -> None:
        direction, other = self._ways[end]
        for _ in range(_READS_AT_ONCE):
            try:
                frame = end.recv(_FRAME_BYTES)
            except OSError:
                return
            due_s = direction.admit(time.monotonic(), len(frame))
            if due_s is not None:
                heapq.heappush(self._waiting, (due_s, next(self._order), frame, direction, other))

    def _let_go(self, now_s: float) -> None:
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, frame, direction, end = heapq.heappop(self._waiting)
            direction.note_left()
            # A link that is down loses what is sent over it.
            with contextlib.suppress(OSError):
                end.send(frame)


def _open_end(interface: str) -> socket.socket:
    # Without a protocol until it is bound, so that it never hears another interface.
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    end.bind((interface, _EVERY_PROTOCOL))
    return end


def _missed_count(end: socket.socket) -> int:
    _, missed_count = struct.unpack("II", end.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(missed_count)


def main() -> None:
    """Relay the links that the first argument describes until SIGTERM, then say what happened."""
    require_namespace()
    relay = Relay(*from_json(sys.argv[1]))

    def stop(number: int, frame: FrameType | None) -> None:
        relay.stop()

    signal.signal(signal.SIGTERM, stop)
    print(READY, flush=True)  # noqa: T201  the lab waits for it
    relay.run()
    print(json.dumps(relay.counts()), flush=True)  # noqa: T201  the lab reads it


if __name__ == "__main__":
    main()
