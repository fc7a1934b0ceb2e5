"""Sensors, doors and thermostats: where they report, and in how many connections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from play_builder import build_hosts, contacts, run_hosts
from thingwarden.lab.behaviour.devices_mqtt import MqttManners
from thingwarden.lab.behaviour.reach import Reach, Visit
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def _identity(seed: int, *, breadth: float = 1.0, has_hub: bool = True) -> Identity:
    return Identity(
        name="s", kind="sensor", mac="", address="10.77.0.9", address6="", pace=1.0,
        traits=Traits(seed=str(seed), breadth=breadth), peers={"hub-1": "10.77.0.2"} if has_hub else {},
        kinds={"hub-1": "hub"} if has_hub else {},
    )  # fmt: skip


def test_usual_sensor_reports_to_the_hub_others_to_a_cloud_and_all_do_without_a_hub() -> None:
    assert isinstance(MqttManners.drawn(_identity(1, breadth=0.0)).broker, Visit)
    brokers = [MqttManners.drawn(_identity(seed)).broker for seed in range(100)]
    assert 20 < sum(isinstance(broker, Reach) for broker in brokers) < 60
    assert isinstance(MqttManners.drawn(_identity(1, breadth=0.0, has_hub=False)).broker, Reach)


def test_makers_differ_in_keep_alive_quality_and_size() -> None:
    drawn = [MqttManners.drawn(_identity(seed)) for seed in range(100)]
    assert {manners.qos for manners in drawn} == {0, 1}
    assert max(manners.payload_bytes for manners in drawn) > 1000 > 20 > min(manners.payload_bytes for manners in drawn)
    assert len({manners.keep_alive_s for manners in drawn}) > 50


def test_sensor_holds_one_session_and_a_door_makes_one_each_time() -> None:
    flows = run_hosts(build_hosts(["sensor", "door", "hub"]), duration_s=1800.0)
    broker = flows.take(np.flatnonzero(flows.resp_port == 1883))
    by_host = {number: broker.take(np.flatnonzero(broker.orig_address[:, 1] & 0xFF == number)) for number in (10, 11)}
    assert [contact[2:] for contact in contacts(by_host[10])] == [("S1", "mqtt")]
    assert by_host[10].duration_s[0] > 1500.0
    assert len(by_host[11]) > 20
    assert {contact[2] for contact in contacts(by_host[11])} == {"SF"}


@pytest.mark.parametrize("kind", ["sensor", "thermostat"])
def test_device_without_a_hub_reports_over_tls(kind: str) -> None:
    seen = contacts(run_hosts([replace(build_hosts([kind])[0], address6="")], duration_s=600.0))
    assert (6, 8883, "S1", "ssl") in seen
