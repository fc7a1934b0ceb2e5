"""Hosts and acts as children of one process: how they start, end and are heard of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_host_builder import lan_host
from thingwarden.domain.errors import ConfigError
from thingwarden.lab.behaviour.catalogue import ACTS
from thingwarden.lab.real.daemons import make_certificate
from thingwarden.lab.real.network import Lab
from thingwarden.lab.real.nursery import Nursery, open_nursery
from thingwarden.lab.real.program import Ending, Program
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of one plug."""
    with Lab([lan_host("plug", 31)]) as made:
        make_certificate(made.scratch, [])
        yield made


def program(lab: Lab, number: int, **settings: object) -> Program:
    """The plug's life, or an act of it."""
    me = Identity(
        name="plug",
        kind="plug",
        mac="02:77:00:00:00:1f",
        address="10.77.0.31",
        address6="2001:db8:77::1f",
        pace=1.0,
        traits=Traits(seed="1"),
    )
    return Program(
        number=number,
        namespace=lab.namespace("plug"),
        log=lab.scratch / f"program-{number}.log",
        me=me,
        seed="1",
        began_at_s=time.time(),
        starts_at_hour=10.0,
        scratch=lab.scratch,
        certificate=lab.scratch / "certificate.pem",
        key=lab.scratch / "key.pem",
        **settings,
    )


def wait_for_one(nursery: Nursery) -> Ending:
    """The next ending, within 30 s, on a machine that does much else."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        for ending in nursery.endings(1.0):
            return ending
    raise AssertionError("nobody ended")


def test_a_host_lives_until_its_power_is_cut(lab: Lab) -> None:
    with open_nursery(lab.scratch / "nursery.log") as nursery:
        nursery.start(program(lab, 1))
        wait_for_somebody(lab)
        assert nursery.endings(1.5) == []
        lab.power_off("plug")
        ending = wait_for_one(nursery)
        lab.power_on("plug")
    assert (ending.number, ending.status) == (1, -9)
    assert ending.ended_at_s > ending.began_at_s


def test_an_act_with_wrong_settings_fails_and_says_so(lab: Lab) -> None:
    with open_nursery(lab.scratch / "nursery.log") as nursery:
        wrong = program(lab, 2, act=next(iter(ACTS)), task="act-1", settings={"nonsense": 1})
        nursery.start(wrong)
        assert wait_for_one(nursery).status == 1
    assert "nonsense" in wrong.log.read_text(encoding="utf-8")


def test_children_die_with_the_nursery(lab: Lab) -> None:
    with open_nursery(lab.scratch / "nursery.log") as nursery:
        nursery.start(program(lab, 3))
        wait_for_somebody(lab)
    deadline_s = time.monotonic() + 5
    while lab_pids(lab):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def wait_for_somebody(lab: Lab) -> None:
    """Until a program has entered the plug's namespace, at most 30 s."""
    deadline_s = time.monotonic() + 30
    while not lab_pids(lab):
        assert time.monotonic() < deadline_s, "nobody came"
        time.sleep(0.05)


def lab_pids(lab: Lab) -> list[str]:
    """Processes in the plug's namespace."""
    mine = (Path("/run/netns") / lab.namespace("plug")).stat().st_ino
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found += [path.parts[2]] if path.stat().st_ino == mine else []
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_nursery_that_died_is_told(tmp_path: Path, lab: Lab) -> None:
    with open_nursery(tmp_path / "nursery.log") as nursery:
        nursery._process.kill()
        nursery._process.wait()
        with pytest.raises(ConfigError):
            nursery.start(program(lab, 4))
            nursery.endings(1.0)
