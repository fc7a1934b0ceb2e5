"""Hosts of a lab's LAN, and a lab that another process holds.

In: a name and a number. Out: a ``Host``; a process with a lab in it.
Must never: leave the process running.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from thingwarden.lab.timeline import Host
from thingwarden.lab.traits import Traits

_HELD_LAB = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:]
from lab_host_builder import lan_host
from thingwarden.lab.real.network import Lab

with Lab([lan_host("camera", 21)]) as lab:
    sleeper = lab.spawn("camera", ["sleep", "300"])
    while Path(f"/proc/{sleeper.pid}/comm").read_text() != "sleep\\n":
        time.sleep(0.01)
    print(sleeper.pid, lab.namespace("camera"), lab.scratch, flush=True)
    time.sleep(60)
"""


def lan_host(name: str, number: int, *, joins: bool = False) -> Host:
    """The host with that number as its addresses' last part."""
    return Host(
        name=name,
        kind="camera",
        address=f"10.77.0.{number}",
        address6=f"2001:db8:77::{number:x}",
        mac=f"02:77:00:00:00:{number:02x}",
        pace=1.0,
        traits=Traits(seed=name),
        joins=joins,
    )


@contextlib.contextmanager
def held_lab() -> Iterator[tuple[subprocess.Popen[str], int, str, str]]:
    """Another process with a lab of one camera; also the id of a program in it, its namespace and its folder."""
    argv = [sys.executable, "-c", _HELD_LAB, *sys.path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            pid, namespace, scratch = process.stdout.readline().split()
            yield process, int(pid), namespace, scratch
        finally:
            process.kill()
