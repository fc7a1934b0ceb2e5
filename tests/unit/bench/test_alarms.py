"""Alerts are tied to the flows they are about; alarms are counted as a person would hear of them."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alert_builder import START_S, Ends, build_alerts, build_flows
from thingwarden.bench.alarms import join_alerts, judge_alerts, judge_incidents
from thingwarden.domain.detection import Detection, FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import build_incident

OUT = Ends()
BACK = Ends(OUT.resp, OUT.resp_port, OUT.orig, OUT.orig_port)
PING = Ends(orig_port=8, resp_port=0, proto=1)


def test_an_alert_belongs_to_the_flow_between_its_ends_whoever_sent_the_packet() -> None:
    flows = build_flows((0.0, OUT), (0.0, OUT._replace(orig_port=40_001)), (0.0, OUT._replace(proto=17)))
    alerts = build_alerts((0.5, OUT), (0.5, BACK), (0.5, OUT._replace(proto=17)), (0.5, OUT._replace(resp_port=81)))
    assert join_alerts(flows, alerts).tolist() == [0, 0, 2, -1]


def test_of_flows_that_share_their_ends_the_last_begun_one_is_meant() -> None:
    flows = build_flows((0.0, OUT), (500.0, OUT), (100.0, OUT))
    alerts = build_alerts((-0.5, OUT), (99.5, OUT), (499.0, OUT), (9_000.0, OUT), (-5.0, OUT))
    assert join_alerts(flows, alerts).tolist() == [0, 2, 1, 1, -1]


def test_ports_mean_nothing_to_icmp() -> None:
    assert join_alerts(build_flows((0.0, PING)), build_alerts((0.1, PING._replace(orig_port=0)))).tolist() == [0]


def test_nothing_joins_to_nothing() -> None:
    assert join_alerts(FlowBatch.empty(), build_alerts((0.0, OUT))).tolist() == [-1]
    assert judge_alerts(build_flows((0.0, OUT)), build_alerts()).alarms == ()


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 3), st.booleans()), min_size=1, max_size=20))
def test_joining_does_not_depend_on_the_order_of_flows(rows: list[tuple[float, int, bool]]) -> None:
    ends = [(at_s, OUT._replace(orig_port=port)) for at_s, port, _ in rows]
    alerts = build_alerts(*((at_s + 0.1, BACK._replace(resp_port=port)) for at_s, port, _ in rows))
    flows = build_flows(*ends)
    order = np.argsort([is_late for *_, is_late in rows], kind="stable")
    joined, moved = join_alerts(flows, alerts), join_alerts(flows.take(order), alerts)
    np.testing.assert_array_equal(flows.started_at_s[joined], flows.take(order).started_at_s[moved])


def test_alerts_of_a_signature_on_a_device_within_an_hour_are_one_alarm() -> None:
    other = OUT._replace(orig="192.168.1.11")
    flows = build_flows((0.0, OUT), (0.0, other), malicious=(1, 0))
    rows = [(1.0, OUT), (2.0, BACK), (3.0, OUT), (4_000.0, OUT), (3.0, other)]
    judgement = judge_alerts(flows, build_alerts(*rows, signature_id=[1, 1, 2, 1, 1]))
    assert sorted(alarm.at_s - START_S for alarm in judgement.alarms) == [1.0, 3.0, 3.0, 4_000.0]
    assert [alarm.is_true for alarm in judgement.alarms].count(False) == 1
    assert judgement.alarmed_at_s.tolist() == [START_S + 1.0, START_S + 3.0]
    assert judgement.said.all()


def test_only_grave_alerts_are_loud() -> None:
    flows = build_flows((0.0, OUT), (0.0, OUT._replace(resp_port=443)), malicious=(1, 1))
    judgement = judge_alerts(
        flows, build_alerts((1.0, OUT), (1.0, OUT._replace(resp_port=443)), signature_id=[1, 2], severity=[2, 3])
    )
    assert judgement.said.tolist() == [True, True]
    assert judgement.said_loudly.tolist() == [True, False]
    assert sorted(alarm.is_loud for alarm in judgement.alarms) == [False, True]


@pytest.mark.parametrize(("malicious", "expected"), [((0,), False), ((1,), None), ((-1,), None)])
def test_an_alert_without_a_flow_is_false_only_where_nothing_bad_happens(
    malicious: tuple[int, ...], expected: bool | None
) -> None:
    judgement = judge_alerts(build_flows((0.0, OUT), malicious=malicious), build_alerts((0.0, PING)))
    assert judgement.unjoined == 1
    assert not judgement.said.any()
    assert [alarm.is_true for alarm in judgement.alarms] == [expected]


@pytest.mark.parametrize(("side", "expected"), [(1, True), (0, False), (-1, None)])
def test_a_role_is_judged_where_the_rule_names_one(side: int, expected: bool | None) -> None:
    flows = build_flows((0.0, OUT), malicious=(1,))
    (alarm,) = judge_alerts(flows, build_alerts((0.1, OUT), attacker_is_orig=[side])).alarms
    assert alarm.has_right_role is expected


def _verdicts(count: int) -> FlowVerdicts:
    """All malicious."""
    return FlowVerdicts(
        malicious_probability=np.ones(count, dtype=np.float32),
        is_malicious=np.ones(count, dtype=np.bool_),
        attack_class=np.zeros(count, dtype=np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        device=np.ones(count, dtype=np.int32),
        role=np.zeros(count, dtype=np.int8),
        surprise_nats=np.ones(count, dtype=np.float32),
    )


def test_an_incident_speaks_of_its_devices_flows_while_it_goes_on() -> None:
    rows = [(0.0, OUT), (20.0, OUT), (20.0, OUT._replace(orig="192.168.1.11")), (500.0, OUT)]
    flows = build_flows(*rows, malicious=(1, 1, 1, 1))
    first, opened, last = (datetime.fromtimestamp(START_S + at_s, UTC) for at_s in (0.0, 10.0, 30.0))
    loudest = Detection(
        flow=0, started_at=first, proto="tcp", is_outbound=True, peer=IPv4Address(OUT.resp), port=80, service=None,
        conn_state=None, sent_bytes=None, received_bytes=None, probability=1.0, attack_class=AttackClass.C2,
    )  # fmt: skip
    incident = build_incident(
        device=Device(index=1, mac=None, address=IPv4Address(OUT.orig)),
        first_seen_at=first,
        opened_at=opened,
        last_seen_at=last,
        detections=(loudest,),
    )
    judgement = judge_incidents(flows, _verdicts(4), [incident])
    assert (judgement.alarmed_at_s - START_S).tolist() == [10.0, 20.0, np.inf, np.inf]
    (alarm,) = judgement.alarms
    assert alarm.is_true and alarm.has_right_role
