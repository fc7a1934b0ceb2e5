"""Closings come when they are due, once, and nothing comes older than what came before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thingwarden.domain.flow import CONN_STATE_CODE
from thingwarden.domain.flow_store import FlowProgress, FlowStore
from thingwarden.encode.agenda import Agenda, Events
from thingwarden.encode.vocabulary import CLOSE_KIND, OPEN_KIND
from thingwarden.testing import START_S, FlowSpec, build_flows


def rows(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def store_of(*specs: FlowSpec) -> FlowStore:
    """A store whose first rows, from 1 on, are these flows."""
    store, flows = FlowStore(16), build_flows(list(specs))
    given = store.open(len(specs))
    for name in ("started_at_s", "duration_s", "proto", "conn_state", "orig_address", "resp_address"):
        getattr(store.flows, name)[given] = getattr(flows, name)
    return store


def told(events: Events) -> list[tuple[float, int, int]]:
    return [
        (at_s - START_S, kind, row)
        for at_s, kind, row in zip(events.at_s.tolist(), events.kind.tolist(), events.row.tolist(), strict=True)
    ]


def begun(*numbers: int) -> FlowProgress:
    return replace(FlowProgress.none(), opened=rows(*numbers), touched=rows(*numbers))


def over(*numbers: int) -> FlowProgress:
    return replace(FlowProgress.none(), ended=rows(*numbers))


def test_an_opening_is_told_at_once_and_a_closing_when_it_is_due() -> None:
    store = store_of(FlowSpec(at_s=0.0, duration_s=1.0, conn_state="SF"))
    agenda = Agenda(16)
    assert told(agenda.advance(store.flows, begun(1), START_S)) == [(0.0, OPEN_KIND, 1)]
    assert told(agenda.advance(store.flows, over(1), START_S + 6.0)) == []
    assert told(agenda.advance(store.flows, FlowProgress.none(), START_S + 6.1)) == [(6.0, CLOSE_KIND, 1)]
    assert told(agenda.advance(store.flows, FlowProgress.none(), np.inf)) == []


def test_a_flow_that_was_reset_is_due_although_it_is_open() -> None:
    store = store_of(FlowSpec(at_s=0.0, duration_s=1.0, conn_state="RSTO"))
    agenda = Agenda(16)
    events = agenda.advance(store.flows, begun(1), START_S + 1.2)
    assert [(kind, row) for _, kind, row in told(events)] == [(OPEN_KIND, 1), (CLOSE_KIND, 1)]


def test_unless_it_went_on() -> None:
    store = store_of(FlowSpec(at_s=0.0, duration_s=1.0, conn_state="RSTO"))
    agenda = Agenda(16)
    agenda.advance(store.flows, begun(1), START_S + 1.0)
    store.flows.conn_state[1] = CONN_STATE_CODE["SF"]
    went_on = replace(FlowProgress.none(), touched=rows(1))
    assert told(agenda.advance(store.flows, went_on, START_S + 2.0)) == []


def test_closings_of_one_instant_come_in_the_order_of_beginning_whatever_their_rows() -> None:
    specs = [FlowSpec(at_s=0.0, duration_s=1.0, conn_state="SF") for _ in range(3)]
    store, agenda = store_of(*specs), Agenda(16)
    agenda.advance(store.flows, begun(3, 1, 2), START_S)
    events = agenda.advance(store.flows, over(1, 2, 3), np.inf)
    assert events.row.tolist() == [3, 1, 2]


def test_what_comes_out_of_order_is_told_late() -> None:
    store = store_of(FlowSpec(at_s=5.0), FlowSpec(at_s=4.0))
    agenda = Agenda(16)
    agenda.advance(store.flows, begun(1), START_S + 5.0)
    assert told(agenda.advance(store.flows, begun(2), START_S + 5.0)) == [(5.0, OPEN_KIND, 2)]


def test_the_soonest_are_told_before_their_time_where_there_is_no_room() -> None:
    specs = [FlowSpec(at_s=0.0, duration_s=float(span), proto="udp") for span in (3, 1, 2)]
    store, agenda = store_of(*specs), Agenda(16)
    agenda.advance(store.flows, begun(1, 2, 3), START_S + 3.0)
    agenda.advance(store.flows, over(1, 2, 3), START_S + 3.0)
    assert sorted(agenda.hasten(store.flows, 2).row.tolist()) == [2, 3]
    assert told(agenda.advance(store.flows, FlowProgress.none(), np.inf)) == [(63.0, CLOSE_KIND, 1)]
