"""A device's process knows itself from one argument, lives by its own random stream, and stays in its namespace."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.devices import HABITS, Habit, Identity, run_habits

GIVEN = {
    "name": "plug",
    "kind": "plug",
    "mac": "02:77:00:00:00:31",
    "seed": "1",
    "pace": 10.0,
    "authority": "certificate.pem",
    "key": "",
    "peers": {"hub": "10.77.0.2"},
    "control_port": 6667,
    "is_booting": True,
}


def test_an_identity_is_parsed_from_its_argument() -> None:
    me = Identity.parse(json.dumps(GIVEN))
    assert me.authority == Path("certificate.pem")
    assert me.key is None
    assert me.peers == {"hub": "10.77.0.2"}


def test_a_peer_outside_the_lab_is_refused() -> None:
    with pytest.raises(RequestError):
        Identity.parse(json.dumps({**GIVEN, "peers": {"hub": "192.168.1.1"}}))


def test_a_habit_that_fails_is_tried_again() -> None:
    done = Event()
    tries: list[float] = []

    def fail_once(me: Identity, rng: random.Random) -> None:
        tries.append(rng.random())
        if len(tries) == 1:
            raise ConnectionRefusedError
        done.set()

    run_habits(Identity.parse(json.dumps(GIVEN)), [Habit(act=fail_once, every_s=(60, 60))])
    assert done.wait(10)
    assert len(tries) == 2


def test_each_device_draws_its_own_numbers_and_the_same_ones_again() -> None:
    def first_draw(name: str) -> float:
        drawn: list[float] = []
        done = Event()

        def draw(me: Identity, rng: random.Random) -> None:
            drawn.append(rng.random())
            done.set()

        me = replace(Identity.parse(json.dumps(GIVEN)), name=name)
        run_habits(me, [Habit(act=draw, every_s=(60, 60))])
        assert done.wait(5)
        return drawn[0]

    assert first_draw("plug") == first_draw("plug")
    assert first_draw("plug") != first_draw("lamp")


def test_every_pause_is_a_range_of_seconds() -> None:
    for kind, habits in HABITS.items():
        for habit in habits:
            low_s, high_s = habit.every_s
            assert 0 < low_s <= high_s, kind


def test_a_device_refuses_to_live_outside_a_lab() -> None:
    argv = [sys.executable, "-m", "thingwarden.lab.devices", json.dumps(GIVEN)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "outside a lab's namespace" in done.stderr
