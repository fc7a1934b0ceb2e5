"""When a growing attack is noticed: at full pace and before, by whom, after how many contacts."""

from __future__ import annotations

import numpy as np
import pytest

from evasion_builder import Outspoken, attacked_network, calls_attacks, calls_port, habit, label
from thingwarden.bench.evasion_frog import AT_ONCE, FULL_CONTACTS, FrogStream, cast_frogs, grow_attack
from thingwarden.bench.evasion_frog_measure import measure_streams, pool_streams, record_stream, summarise_frog
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.domain.incident import Role
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import build_device

HOST = "192.168.7.20"


@pytest.fixture(scope="module")
def stream() -> FrogStream:
    quiet = label([habit(float(at_s), HOST) for at_s in range(0, 7200, 240)])
    (cast,) = cast_frogs([("net-1", attacked_network()), ("net-2", quiet)], AttackClass.C2, 1, 1)
    assert str(address_from_words(*cast.host.owner.tolist())) == HOST
    return grow_attack(cast, 2.0)


def _outspoken(calls=calls_attacks, **changes) -> Outspoken:  # type: ignore[no-untyped-def]
    return Outspoken(calls, **{"device": build_device(1, HOST, None), **changes})


def test_who_sees_all_sees_it_at_the_first_contact(stream: FrogStream) -> None:
    record = record_stream(stream, _outspoken().watch(stream.flows))
    assert record["full"] == record["full_said"] == FULL_CONTACTS
    assert record["rising"] == record["rising_said"] > 100
    assert record["benign_said"] == 0 < record["benign"]
    assert record["found_with_role"] and record["contacts_before"] == 1
    assert record["alarm_after_h"] == pytest.approx(0.0, abs=1e-6)


def test_who_wakes_late_pays_in_hours_and_contacts(stream: FrogStream) -> None:
    def late(flows: FlowBatch) -> np.ndarray:
        return calls_attacks(flows) & (flows.started_at_s >= stream.full_from_s)

    record = record_stream(stream, _outspoken(late).watch(stream.flows))
    assert record["rising_said"] == 0 and record["full_said"] == FULL_CONTACTS
    assert record["alarm_after_h"] == pytest.approx(np.log(120.0) / np.log(2.0), rel=0.01)
    assert record["contacts_before"] == record["rising"] + 1


def test_an_alarm_about_something_else_is_not_the_attacks(stream: FrogStream) -> None:
    record = record_stream(stream, _outspoken(calls_port(443)).watch(stream.flows))
    assert not record["found"] and record["alarm_after_h"] is None and record["false"] == 1
    other = _outspoken(device=build_device(2, "192.168.7.99", None))
    assert not record_stream(stream, other.watch(stream.flows))["found"]


def test_an_incident_from_before_the_attack_tells_of_it_when_it_comes(stream: FrogStream) -> None:
    began_s = stream.flows.started_at_s[calls_attacks(stream.flows)].min()

    def early(flows: FlowBatch) -> np.ndarray:
        is_attack = calls_attacks(flows)
        last_habit = flows.started_at_s[~is_attack & (flows.started_at_s < began_s)].max()
        return is_attack | (flows.started_at_s == last_habit)

    record = record_stream(stream, _outspoken(early).watch(stream.flows))
    assert record["found_with_role"] and record["contacts_before"] == 1
    assert record["alarm_after_h"] == pytest.approx(0.0, abs=1e-6)


def test_the_wrong_role_is_found_without_it(stream: FrogStream) -> None:
    record = record_stream(stream, _outspoken(role=Role.TARGET).watch(stream.flows))
    assert record["found"] and not record["found_with_role"]


def test_figures_pool_streams_and_medians_leave_out_who_was_not_found(stream: FrogStream) -> None:
    seen, missed = (measure_streams([stream], _outspoken(calls)) for calls in (calls_attacks, calls_port(1)))
    point = pool_streams([*seen, *missed])
    assert point["streams"] == 2 and point["recall_full"] == 0.5 and point["found_with_role"] == 0.5
    assert point["recall_full_interval"] == (0.0, 1.0) and point["contacts_before"] == 1.0
    nothing = pool_streams(missed)
    assert nothing["alarm_after_h"] is None and nothing["recall_rising"] == 0.0


def test_a_curve_keeps_its_order_and_leaves_out_what_had_no_streams(stream: FrogStream) -> None:
    records = measure_streams([stream], _outspoken())
    curve = summarise_frog({AT_ONCE: records, 2.0: records, 1.05: []})
    assert [point["strength"] for point in curve] == [AT_ONCE, 2.0]
