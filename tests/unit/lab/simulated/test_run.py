"""A schedule is carried out as planned, labelled by what caused each flow, and the same for the same seed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from play_builder import build_hosts
from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch, Labels
from thingwarden.domain.packet import PacketBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.condition import find_condition
from thingwarden.lab.simulated.run import BEGAN_ON, Simulation, is_aimed_at, label_by_aims, simulate
from thingwarden.lab.timeline import Aim, Cut, Perform, Planned, PowerOff, PowerOn, Restore, Schedule
from thingwarden.lab.world import Stream, World
from wire_builder import address_of, watch

KINDS = ("hub", "sensor", "door", "camera", "plug", "phone")


def schedule(seed: int = 1, duration_s: float = 300.0, condition: str = "home") -> Schedule:
    scan = Perform(
        act="scan_vertical",
        host="camera-3",
        settings={"targets": (address_of(0),), "top_ports": 50},
        lasts_s=30.0,
        attack_class=AttackClass.SCAN,
        technique="T1046",
        aims=(Aim(peer=address_of(0)),),
    )
    return Schedule(
        scenario="test",
        seed=seed,
        duration_s=duration_s,
        starts_at_hour=20.0,
        condition=find_condition(condition),
        hosts=build_hosts(KINDS, seed=seed),
        planned=(
            Planned(at_s=60.0, event="scan_vertical-1", action=scan),
            Planned(at_s=100.0, event="outage-1", action=Cut(target="vendor.example")),
            Planned(at_s=130.0, event="outage-1", action=Restore(target="vendor.example")),
            Planned(at_s=150.0, event="reboot-1", action=PowerOff(host="plug-4")),
            Planned(at_s=170.0, event="reboot-1", action=PowerOn(host="plug-4", address="10.77.0.77")),
        ),
    )


def run(plan: Schedule) -> FlowBatch:
    return FlowBatch.concatenate(list(simulate(plan, live, ACTS)))


@pytest.fixture(scope="module")
def flows() -> FlowBatch:
    return run(schedule())


def test_equal_schedules_give_equal_bytes(flows: FlowBatch) -> None:
    again = run(schedule())
    assert len(flows) == len(again) > 200
    for name in COLUMN_DTYPES:
        assert getattr(flows, name).tobytes() == getattr(again, name).tobytes(), name
    assert flows.labels is not None and again.labels is not None
    for field in fields(Labels):
        assert getattr(flows.labels, field.name).tobytes() == getattr(again.labels, field.name).tobytes()


def test_another_seed_gives_another_life(flows: FlowBatch) -> None:
    other = run(schedule(seed=2))
    assert not np.array_equal(flows.started_at_s[:50], other.started_at_s[:50])


def test_flows_of_an_act_carry_its_class_and_nothing_else_does(flows: FlowBatch) -> None:
    labels = flows.labels
    assert labels is not None
    attack = labels.malicious == 1
    assert int(attack.sum()) == 50
    assert set(labels.detail[attack].tolist()) == {b"scan:scan_vertical-1"}
    assert set(labels.attack_class[attack].tolist()) == {CLASS_INDEX[AttackClass.SCAN]}
    assert set(labels.detail[~attack].tolist()) == {b"benign"}


def test_it_begins_on_its_day_at_its_hour(flows: FlowBatch) -> None:
    began_at_s = BEGAN_ON.timestamp() + 20 * 3600.0
    assert began_at_s <= flows.started_at_s.min() < began_at_s + 10.0
    assert flows.ended_at_s.max() <= began_at_s + 300.0


def test_a_host_is_silent_without_power_and_comes_back_at_its_new_address(flows: FlowBatch) -> None:
    began_at_s = BEGAN_ON.timestamp() + 20 * 3600.0

    def begun_s(address: int) -> np.ndarray[Any, Any]:
        return flows.started_at_s[flows.orig_address[:, 1] & np.uint64(0xFF) == address] - began_at_s

    plug = build_hosts(KINDS)[4]
    before, after = begun_s(int(plug.address.rpartition(".")[2])), begun_s(77)
    assert before.max() < 170.1
    assert not ((before > 150.01) & (before < 170.0)).any()
    assert after.min() > 170.0


def test_progress_is_told_and_packets_come_in_order() -> None:
    told: list[float] = []
    last_s = 0.0
    for rows in Simulation(schedule(duration_s=1500.0), live, ACTS).packets(told.append):
        assert (np.diff(rows["at_s"]) >= 0).all()
        assert rows["at_s"][0] >= last_s
        last_s = float(rows["at_s"][-1])
    assert told[-1] == 1500.0
    assert len(told) > 1


def test_flows_do_not_depend_on_how_much_is_metered_at_once() -> None:
    plan = schedule(duration_s=1000.0)
    whole = run(plan)
    assert whole.labels is not None
    assert len(whole) > 500
    assert int(whole.labels.malicious.sum()) == 50


def test_stopping_early_leaves_no_task_behind() -> None:
    source = simulate(replace(schedule(), duration_s=5000.0), live, ACTS)
    assert len(next(source)) > 0
    source.close()  # type: ignore[attr-defined]
    assert next(source, None) is None


async def hold(world: World) -> None:
    """Accept connections and answer them."""

    async def answer(own: World, stream: Stream) -> None:
        while data := await stream.receive(None):
            await stream.send(data)

    await world.listen(9000, answer)


def poll_every_second(outcome: list[tuple[int, str]], address: str) -> Any:
    async def poll(world: World) -> None:
        while True:
            await world.sleep(1.0)
            try:
                stream = await world.connect(address, 9000, timeout_s=0.9)
                await stream.close()
                outcome.append((int(world.now_s()), "fine"))
            except OSError as error:
                outcome.append((int(world.now_s()), type(error).__name__))

    return poll


@pytest.mark.parametrize("target", ["uplink", "vendor.example"])
@pytest.mark.parametrize(("mode", "error"), [("silent", "TimeoutError"), ("refusing", "ConnectionRefusedError")])
def test_what_is_cut_fails_and_what_is_restored_works(target: str, mode: Any, error: str) -> None:
    outcome: list[tuple[int, str]] = []
    planned = (
        Planned(at_s=5.5, event="outage-1", action=Cut(target=target, mode=mode)),
        Planned(at_s=10.5, event="outage-1", action=Restore(target=target)),
    )
    watch(20.0, client=poll_every_second(outcome, "203.0.113.10"), internet=hold, planned=planned)
    assert {name for at_s, name in outcome if at_s < 5} == {"fine"}
    assert {name for at_s, name in outcome if 7 <= at_s < 10} == {error}
    assert {name for at_s, name in outcome if at_s >= 12} == {"fine"}


def test_one_service_may_fail_while_others_work() -> None:
    one: list[tuple[int, str]] = []
    other: list[tuple[int, str]] = []
    planned = (Planned(at_s=0.5, event="outage-1", action=Cut(target="vendor.example")),)
    watch(
        10.0,
        planned=planned,
        one=poll_every_second(one, "203.0.113.10"),
        other=poll_every_second(other, "203.0.113.12"),
        internet=hold,
    )
    assert {name for _, name in one} == {"TimeoutError"}
    assert {name for _, name in other} == {"fine"}


def test_a_host_that_joins_later_is_absent_until_then() -> None:
    told: list[tuple[float, bool]] = []

    async def note(world: World) -> None:
        told.append((world.now_s(), world.me.is_booting))

    planned = (Planned(at_s=7.0, event="join-1", action=PowerOn(host="late")),)
    watch(20.0, late=note, planned=planned, joins=frozenset({"late"}))
    assert told == [(7.0, True)]


def test_an_act_of_a_host_without_power_does_not_take_place() -> None:
    told: list[float] = []

    async def note(world: World, settings: ActSettings) -> None:
        told.append(world.now_s())

    async def be_still(world: World) -> None:
        pass

    acts: dict[str, ActKind[Any]] = {"deed": ActKind(about="A test's deed.", settings=ActSettings, run=note)}
    deed = Perform(act="deed", host="host", lasts_s=5.0)
    planned = (
        Planned(at_s=1.0, event="deed-1", action=deed),
        Planned(at_s=2.0, event="off-1", action=PowerOff(host="host")),
        Planned(at_s=3.0, event="deed-2", action=deed),
    )
    watch(20.0, host=be_still, planned=planned, acts=acts)
    assert told == [1.0]


def test_without_aims_all_but_look_ups_of_names_is_the_acts_doing() -> None:
    label_to = label_by_aims(7, ())
    assert label_to("10.77.0.21", 6, 23) == 7
    assert label_to("10.77.0.1", 17, 53) == 0


def test_with_aims_only_what_they_name_is() -> None:
    label_to = label_by_aims(7, (Aim(peer="203.0.113.0/24", proto=17, ports=(53,)),))
    assert label_to("203.0.113.9", 17, 53) == 7
    assert label_to("203.0.113.9", 17, 54) == 0
    assert label_to("203.0.113.9", 6, 53) == 0
    assert label_to("2001:db8:100::1", 17, 53) == 0
    assert is_aimed_at(Aim(peer="10.77.0.21", proto=0), "10.77.0.21", 1, 0)
    assert not is_aimed_at(Aim(peer="10.77.0.21", proto=0), "10.77.0.22", 1, 0)


def test_packets_hold_what_the_product_reads() -> None:
    seen = watch(5.0, host=hold)
    assert isinstance(seen.packets, PacketBatch)
