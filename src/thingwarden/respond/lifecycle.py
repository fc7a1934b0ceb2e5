"""The life of a decision, as a table.

In: a state and what happened. Out: the next state.
Must never: have a state that cannot be reached, or one that cannot end.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class DecisionState(Enum):
    """Where a decision stands; the value is the wire name."""

    APPROVED = "approved"
    ACTIVE = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    FAILED = "failed"
    STUCK = "stuck"


class Cause(Enum):
    """What happens to a decision."""

    APPLIED = "applied"
    REJECTED = "rejected"
    DUE = "due"
    REVOKED = "revoked"


TRANSITIONS: Final[dict[tuple[DecisionState, Cause], DecisionState]] = {
    (DecisionState.APPROVED, Cause.APPLIED): DecisionState.ACTIVE,
    (DecisionState.APPROVED, Cause.REJECTED): DecisionState.FAILED,
    (DecisionState.APPROVED, Cause.DUE): DecisionState.EXPIRING,
    (DecisionState.ACTIVE, Cause.DUE): DecisionState.EXPIRING,
    (DecisionState.EXPIRING, Cause.REVOKED): DecisionState.EXPIRED,
    (DecisionState.EXPIRING, Cause.REJECTED): DecisionState.STUCK,
    (DecisionState.STUCK, Cause.DUE): DecisionState.EXPIRING,
}
"""``DUE`` comes from the clock or from an operator; a stuck decision is tried again at the next tick."""

FINAL_STATES: Final = frozenset({DecisionState.EXPIRED, DecisionState.FAILED})


def next_state(state: DecisionState, cause: Cause) -> DecisionState:
    """The state after ``cause``; a cause that means nothing there (a late receipt) changes nothing."""
    return TRANSITIONS.get((state, cause), state)
