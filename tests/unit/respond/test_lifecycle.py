"""The table of a decision's life is closed, connected and finite."""

from __future__ import annotations

from thingwarden.respond.lifecycle import FINAL_STATES, TRANSITIONS, Cause, DecisionState, next_state


def reachable_from(state: DecisionState) -> set[DecisionState]:
    found, frontier = {state}, [state]
    while frontier:
        here = frontier.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is here and after not in found:
                found.add(after)
                frontier.append(after)
    return found


def test_every_state_is_reached_and_every_state_can_end() -> None:
    assert reachable_from(DecisionState.APPROVED) == set(DecisionState)
    assert all(reachable_from(state) & FINAL_STATES for state in DecisionState)


def test_nothing_leaves_a_final_state() -> None:
    assert all(next_state(state, cause) is state for state in FINAL_STATES for cause in Cause)


def test_a_late_receipt_changes_nothing() -> None:
    assert next_state(DecisionState.EXPIRING, Cause.APPLIED) is DecisionState.EXPIRING
