"""The roles refuse to run outside a lab; in one they send when it is due and hear what arrives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thingwarden.bench import latency_program
from thingwarden.bench.latency_program import attack_arguments, crowd_arguments, main, receive, receive_arguments, send
from thingwarden.bench.latency_traffic import flood_frames
from thingwarden.domain.errors import RequestError


@pytest.mark.parametrize(
    "arguments",
    [
        crowd_arguments(1.0, 1.0, 0, Path("x.npz")),
        attack_arguments("scan", 0, 1.0, 1.0, Path("x.npz")),
        receive_arguments(Path("x.npz")),
    ],
)
def test_no_role_is_played_outside_a_lab(arguments: list[str]) -> None:
    assert arguments[:3] == [sys.executable, "-m", "thingwarden.bench.latency_program"]
    with pytest.raises(RequestError, match="outside a lab's namespace"):
        main(arguments[3:])


@pytest.mark.root
def test_frames_go_out_when_they_are_due_and_their_numbers_arrive() -> None:
    """In a namespace of its own, over a pair of interfaces."""
    code = """
import subprocess, threading, time
from thingwarden.bench import latency_program as program
from thingwarden.bench.latency_traffic import flood_frames
subprocess.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0"], check=True)
for name in ("eth0", "far0"):
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
time.sleep(0.2)
over, heard = threading.Event(), []
program.INTERFACE = "far0"
listening = threading.Thread(target=lambda: heard.append(program.receive(over.is_set)))
listening.start()
time.sleep(0.2)
program.INTERFACE = "eth0"
meant_s, sent_s = program.send(flood_frames(3, 200.0, 0.5))
time.sleep(0.3)
over.set()
listening.join()
numbers, read_s = heard[0]
assert numbers == [(3, number) for number in range(100)], numbers
assert all(-0.001 < sent - meant < 0.1 for meant, sent in zip(meant_s, sent_s))
assert all(read >= sent for read, sent in zip(read_s, sent_s))
"""
    subprocess.run(["unshare", "--net", sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.root
def test_silence_is_heard_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_program, "INTERFACE", "lo")
    turns = iter([False, True])
    numbers, read_s = receive(lambda: next(turns))
    assert (numbers, read_s) == ([], [])


@pytest.mark.root
def test_an_interface_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_program, "INTERFACE", "no-such-if")
    with pytest.raises(OSError, match="No such device"):
        send(flood_frames(0, 1.0, 1.0))
