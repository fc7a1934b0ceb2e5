"""Who sends and who listens in a measurement of latency: one process each, in a namespace of the lab.

In: on the command line the role, its figures and a file for what it notes. Out: that file, NumPy columns.
Must never: run outside a lab's namespace.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import numpy as np

from thingwarden.bench.latency_traffic import Sending, attack_number, crowd_frames, flood_frames, scan_frames
from thingwarden.lab.real.network import require_namespace

INTERFACE: Final = "eth0"
KINDS: Final[dict[str, Callable[[int, float, float], Sending]]] = {"flood": flood_frames, "scan": scan_frames}
"""Attacks by name: number of the attacker, packets a second, seconds."""

_EVERY_PROTOCOL: Final = 0x0003
_LEAD_S: Final = 0.05
_RECEIVE_BYTES: Final = 8 << 20
_NAP_S: Final = 0.0005


def crowd_arguments(flows_per_s: float, span_s: float, seed: int, path: Path) -> list[str]:
    """The command line that sends the background; notes how late each frame went out."""
    return _arguments("crowd", str(flows_per_s), str(span_s), str(seed), str(path))


def attack_arguments(kind: str, attacker: int, packets_per_s: float, span_s: float, path: Path) -> list[str]:
    """The command line of one attack; notes the instant before each packet was sent."""
    return _arguments("attack", kind, str(attacker), str(packets_per_s), str(span_s), str(path))


def receive_arguments(path: Path) -> list[str]:
    """The command line of who listens at the far end until SIGTERM; notes which attack packets arrived, and when."""
    return _arguments("receive", str(path))


def _arguments(*words: str) -> list[str]:
    return [sys.executable, "-m", "thingwarden.bench.latency_program", *words]


def send(sending: Sending) -> tuple[list[float], list[float]]:
    """Send frames when they are due; when each was meant to go and when it went, Unix seconds."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as end:
        end.bind((INTERFACE, 0))
        meant_s = (time.time() + _LEAD_S + sending.at_s).tolist()
        sent_s = []
        for frame, due_s in zip(sending.frames, meant_s, strict=True):
            while (now_s := time.time()) < due_s:
                time.sleep(min(due_s - now_s, _NAP_S))
            sent_s.append(now_s)
            end.send(frame)
    return meant_s, sent_s


def receive(is_stopped: Callable[[], bool]) -> tuple[list[tuple[int, int]], list[float]]:
    """Numbers of the attack packets that arrive, and when they were read."""
    numbers, read_s = [], []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        end.bind((INTERFACE, _EVERY_PROTOCOL))
        end.settimeout(0.1)
        while not is_stopped():
            try:
                frame = end.recv(64)
            except TimeoutError:
                continue
            number = attack_number(frame)
            if number is not None:
                numbers.append(number)
                read_s.append(time.time())
    return numbers, read_s


def main(words: Sequence[str]) -> None:
    """Play the role that the command line names."""
    require_namespace()
    role, *rest = words
    path = Path(rest.pop())
    if role == "receive":
        stopped: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            stopped.append(number)

        signal.signal(signal.SIGTERM, stop)
        numbers, read_s = receive(lambda: bool(stopped))
        np.savez(path, number=np.array(numbers, dtype=np.int64).reshape(-1, 2), read_s=np.array(read_s))
        return
    if role == "crowd":
        meant_s, sent_s = send(crowd_frames(float(rest[0]), float(rest[1]), int(rest[2])))
    else:
        meant_s, sent_s = send(KINDS[rest[0]](int(rest[1]), float(rest[2]), float(rest[3])))
    np.savez(path, meant_s=np.array(meant_s), sent_s=np.array(sent_s))


if __name__ == "__main__":
    main(sys.argv[1:])
