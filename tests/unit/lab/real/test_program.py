"""What passes between a lab and its hosts' processes, and that nothing runs outside a namespace."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from thingwarden.lab.real.program import ENDING, PROGRAM, Program
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def program(tmp_path: Path, namespace: str = "tw-none-plug") -> Program:
    """A plug's life in a namespace that does not exist."""
    me = Identity(
        name="plug",
        kind="plug",
        mac="02:77:00:00:00:1f",
        address="10.77.0.31",
        address6="",
        pace=1.5,
        traits=Traits(seed="1:plug", breadth=0.5),
        peers={"hub": "10.77.0.2"},
        kinds={"hub": "hub"},
        peer_traits={"hub": Traits(seed="1:hub")},
    )
    return Program(
        number=3,
        namespace=namespace,
        log=tmp_path / "plug.log",
        me=me,
        seed="1",
        began_at_s=time.time(),
        starts_at_hour=7.5,
        scratch=tmp_path,
        certificate=tmp_path / "certificate.pem",
        key=tmp_path / "key.pem",
        act="download",
        task="download-1 3.000",
        settings={"targets": ("10.77.0.2",), "lasts_s": 2.5},
    )


def test_a_program_survives_the_way_as_json(tmp_path: Path) -> None:
    sent = program(tmp_path)
    got = PROGRAM.validate_json(PROGRAM.dump_json(sent))
    assert got.me == sent.me
    assert got.me.traits.number("period_s", 10, 1, 100) == sent.me.traits.number("period_s", 10, 1, 100)
    assert dict(got.settings) == {"targets": ["10.77.0.2"], "lasts_s": 2.5}


def test_without_its_namespace_nothing_runs_and_the_end_of_input_ends_it(tmp_path: Path) -> None:
    sent = program(tmp_path)
    lines = PROGRAM.dump_json(sent) + b"\n"
    argv = [sys.executable, "-m", "thingwarden.lab.real.program"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines[:40])
        process.stdin.flush()
        time.sleep(0.05)
        process.stdin.write(lines[40:])
        process.stdin.flush()
        ending = ENDING.validate_json(process.stdout.readline())
        process.stdin.close()
        assert process.wait(5) == 0
    assert (ending.number, ending.status) == (3, 1)
    assert ending.began_at_s <= ending.ended_at_s
    assert "tw-none-plug" in sent.log.read_text(encoding="utf-8")
