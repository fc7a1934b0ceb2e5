"""How decisions look to people: nothing hidden, nothing obeyed, nothing called in force that is not."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from thingwarden.cli.decision_report import (
    SPARES,
    awaiting_panel,
    awaiting_table,
    outcome_lines,
    remaining,
    standing_panel,
    standings_table,
)
from thingwarden.domain.response import Act, Cost, Receipt, ReceiptStatus, Refusal
from thingwarden.serve.wire import plain_from_value
from thingwarden.testing import START_S, build_decision, build_proposal

COST = Cost(over_s=3600.0, harmful_flow_count=57, harmless_flow_count=1, others_flow_count=2, services=("udp/123",))
RECEIPT = Receipt(
    decision_id="b4be9625b4cd",
    enforcer="nftables",
    status=ReceiptStatus.APPLIED,
    at=datetime.fromtimestamp(START_S, UTC),
    detail="two elements",
)


def drawn(renderable: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, markup=False, highlight=False).print(renderable)
    return stream.getvalue()


def standing(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "decision_id": "b4be9625b4cd",
        "incident_id": "0123456789ab",
        "state": "in-force",
        "is_in_force": True,
        "has_ended": False,
        "expires_at": "2023-11-14T23:13:20.000Z",
        "remaining_s": 3600.0,
        "packet_count": 12_345,
        "byte_count": 678_900,
        "doubt": "",
        "revoked_by": None,
        "replaced_by": None,
        "decision": plain_from_value(build_decision(cost=COST)),
        "receipts": [plain_from_value(RECEIPT)],
    }
    return {**values, **changes}


def awaiting(reason: str = "isolate needs approval") -> dict[str, Any]:
    return {
        "proposal_id": "cbee9f7637d7",
        "incident_id": "0123456789ab",
        "proposal": plain_from_value(build_proposal()),
        "reasons": [reason],
        "cost": plain_from_value(COST),
        "until": "2023-11-14T23:13:20.000Z",
        "remaining_s": 90.0,
        "shown": "cf15f5067299",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "-"),
        (-5.0, "-"),
        (0.2, "0 s"),
        (59.0, "59 s"),
        (90.0, "1 min 30 s"),
        (3600.0, "1 h"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_spans_are_told_in_their_greatest_units(seconds: float, text: str) -> None:
    assert remaining(seconds) == text


def test_every_act_says_what_it_spares() -> None:
    assert set(SPARES) == {act.value for act in Act}


def test_a_decision_is_told_whole() -> None:
    text = drawn(standing_panel(standing()))
    for part in (
        "block_flow 192.168.1.10 to 203.0.113.5 tcp/6667",
        "in 1 h",
        "A test wants it.",
        "12,345 packets, 678,900 B",
        "57 harmful flows, 1 harmless flow (udp/123), 2 flows of other devices",
        "all other traffic of the device",
        "applied by nftables: two elements",
        "thingwarden decisions revoke b4be9625b4cd",
    ):
        assert part in text


def test_people_and_successors_are_named() -> None:
    decision = plain_from_value(build_decision(approved_by="ada", replaces="0" * 12))
    text = drawn(standing_panel(standing(decision=decision, revoked_by="bob", replaced_by="f" * 12)))
    assert all(part in text for part in ("by ada", "0" * 12, "by bob", "f" * 12))


def test_what_has_ended_is_not_to_be_undone() -> None:
    text = drawn(standing_panel(standing(state="revoked", has_ended=True, packet_count=None)))
    assert "undo" not in text
    assert "nothing that is known" in text


def test_a_doubtful_decision_says_so() -> None:
    assert "not to be believed: forged" in drawn(standing_panel(standing(doubt="forged")))


@pytest.mark.parametrize(("is_in_force", "word"), [(True, "in-force"), (None, "in-force"), (False, "missing")])
def test_only_the_enforcer_says_what_is_in_force(is_in_force: bool | None, word: str) -> None:
    assert word in drawn(standings_table([standing(is_in_force=is_in_force)]))


def test_a_proposal_is_told_whole() -> None:
    text = drawn(awaiting_panel(awaiting()))
    for part in ("isolate needs approval", "1 min 30 s", "approve cbee9f7637d7 --shown cf15f5067299", "lasts"):
        assert part in text
    assert "cbee9f7637d7" in drawn(awaiting_table([awaiting()]))


def test_no_text_from_outside_is_obeyed() -> None:
    hostile = "\x1b[31mred[/bold]"
    text = drawn(awaiting_panel(awaiting(hostile))) + drawn(awaiting_table([awaiting(hostile)]))
    assert "\x1b" not in text
    assert "[/bold]" in text


def test_an_outcome_is_told_line_by_line() -> None:
    refusal = Refusal(proposal=build_proposal(), reasons=("it is protected",), at=datetime.fromtimestamp(START_S, UTC))
    refused = {"decision": None, "refusal": plain_from_value(refusal), "receipts": []}
    assert list(outcome_lines(refused)) == ["refused by policy: it is protected"]
    done = {"decision": standing()["decision"], "refusal": None, "receipts": standing()["receipts"]}
    assert list(outcome_lines(done))[1] == "b4be9625b4cd applied by nftables: two elements"
