"""How decisions, approvals and what came of an order look to people.

In: plain data in the shapes of ``serve.wire``. Out: rich renderables.
Must never: call an act in force on the journal's word alone; leave out why it was ordered, or how to undo it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from thingwarden.cli.invocation import printable, quantity, table

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

Plain = Mapping[str, Any]

SPARES: Final = {
    "notify": "everything",
    "rate_limit": "all other traffic, and this up to its rate",
    "block_flow": "all other traffic of the device",
    "sinkhole": "all other names",
    "mqtt_deny": "all other clients of the broker",
    "block_peer": "the devices, towards all other peers",
    "quarantine": "gateway, DNS and time",
    "isolate": "every other device",
}
"""What each act leaves alone."""

_STATE_STYLE: Final = {"in-force": "bold green", "dry-run": "cyan", "ending": "yellow", "missing": "bold red",
                       "failed": "bold red", "ordered": "yellow"}  # fmt: skip


def standings_table(standings: Sequence[Plain]) -> Table:
    """One line for each decision."""
    columns = ("decision", "state", "act", "target", "ends in", "cut", "why")
    rows = [
        (
            item["decision_id"],
            _state(item),
            item["decision"]["act"],
            item["decision"]["target"]["text"],
            "-" if item["has_ended"] else remaining(item["remaining_s"]),
            _cut(item) or "-",
            item["decision"]["reason"],
        )
        for item in standings
    ]
    return table(quantity(len(standings), "decision"), columns, rows, numeric=("ends in", "cut"), is_dense=True)


def awaiting_table(awaiting: Sequence[Plain]) -> Table:
    """One line for each proposal that a person may order."""
    columns = ("proposal", "act", "target", "for", "ends in", "why not alone")
    rows = [
        (
            item["proposal_id"],
            item["proposal"]["act"],
            item["proposal"]["target"]["text"],
            remaining(item["proposal"]["ttl_s"]),
            remaining(item["remaining_s"]),
            "; ".join(item["reasons"]),
        )
        for item in awaiting
    ]
    title = f"{quantity(len(awaiting), 'proposal')} awaiting approval"
    return table(title, columns, rows, numeric=("for", "ends in"), is_dense=True)


def standing_panel(item: Plain) -> Panel:
    """One decision whole: what, for whom, why, what it cut, what it spares, how to undo it."""
    decision = item["decision"]
    lines = [
        ("state", _state(item)),
        ("ends", _end(item)),
        ("why", decision["reason"]),
        ("for", f"incident {item['incident_id']}, proposed by {decision['proposer']}"),
        *_people(item),
        *_cost(decision.get("cost")),
        ("cut", _cut(item) or "nothing that is known"),
        ("spares", SPARES.get(decision["act"], "-")),
        *(
            (_clock(entry["at"]), f"{entry['status']} by {entry['enforcer']}: {entry['detail']}")
            for entry in _told(item)
        ),
    ]
    if item["doubt"]:
        lines.append(("doubt", f"not to be believed: {item['doubt']}"))
    if not item["has_ended"]:
        lines.append(("undo", f"thingwarden decisions revoke {item['decision_id']}"))
    return _panel(f" {decision['act']} {decision['target']['text']} ", lines, f"decision {item['decision_id']}")


def awaiting_panel(item: Plain) -> Panel:
    """One proposal whole, as a person must see it before ordering it."""
    proposal = item["proposal"]
    lines = [
        ("why", proposal["reason"]),
        ("for", f"incident {item['incident_id']}, proposed by {proposal['proposer']}"),
        ("lasts", remaining(proposal["ttl_s"])),
        *_cost(item["cost"]),
        ("spares", SPARES.get(proposal["act"], "-")),
        *(("not alone", reason) for reason in item["reasons"]),
        ("until", f"{_clock(item['until'])} UTC, in {remaining(item['remaining_s'])}"),
        ("order", f"thingwarden decisions approve {item['proposal_id']} --shown {item['shown']}"),
        ("refuse", f"thingwarden decisions refuse {item['proposal_id']} --reason ..."),
    ]
    return _panel(f" {proposal['act']} {proposal['target']['text']} ", lines, f"proposal {item['proposal_id']}")


def outcome_lines(outcome: Plain) -> Iterator[str]:
    """What came of an order, a line for each thing."""
    decision, refusal = outcome["decision"], outcome["refusal"]
    if refusal is not None:
        yield f"refused by policy: {'; '.join(refusal['reasons'])}"
    if decision is not None:
        until = f"until {_clock(decision['expires_at'])} UTC"
        yield f"decision {decision['decision_id']}: {decision['act']} {decision['target']['text']} {until}"
    yield from (
        f"{entry['decision_id']} {entry['status']} by {entry['enforcer']}: {entry['detail']}"
        for entry in outcome["receipts"]
    )


def remaining(seconds: float) -> str:
    """A span of time in its two greatest units; a dash where nothing of it is left."""
    if seconds <= 0:
        return "-"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest_s, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _panel(title: str, lines: Iterable[tuple[str, str | Text]], subtitle: str) -> Panel:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold blue", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(Text(label), text if isinstance(text, Text) else Text(printable(text)))
    return Panel(grid, title=Text(printable(title)), subtitle=Text(subtitle), title_align="left", padding=(0, 1))


def _state(item: Plain) -> Text:
    """The journal's state; ``missing`` where the enforcer says that it is not in force."""
    from rich.text import Text

    is_missing = item["state"] == "in-force" and item["is_in_force"] is False
    state = "missing" if is_missing else item["state"]
    return Text(state, style=_STATE_STYLE.get(state, "dim"))


def _end(item: Plain) -> str:
    """When its time is over, and how long that is from now while it lives."""
    left = "" if item["has_ended"] else f", in {remaining(item['remaining_s'])}"
    return f"{_clock(item['expires_at'])} UTC{left}"


def _cut(item: Plain) -> str:
    if item["packet_count"] is None:
        return ""
    volume = "" if item["byte_count"] is None else f", {item['byte_count']:,} B"
    return f"{item['packet_count']:,} packets{volume}"


def _people(item: Plain) -> Iterator[tuple[str, str]]:
    if item["decision"]["approved_by"] is not None:
        yield "approved", f"by {item['decision']['approved_by']}"
    if item["decision"]["replaces"] is not None:
        yield "replaces", item["decision"]["replaces"]
    if item["replaced_by"] is not None:
        yield "replaced", f"by {item['replaced_by']}"
    if item["revoked_by"] is not None:
        yield "revoked", f"by {item['revoked_by']}"


def _cost(cost: Plain | None) -> Iterator[tuple[str, str]]:
    """What it would have cut lately, where that was measured."""
    if cost is None:
        return
    services = f" ({', '.join(cost['services'])})" if cost["services"] else ""
    yield (
        "cost",
        f"in the last {remaining(cost['over_s'])}: {quantity(cost['harmful_flow_count'], 'harmful flow')}, "
        f"{quantity(cost['harmless_flow_count'], 'harmless flow')}{services}, "
        f"{quantity(cost['others_flow_count'], 'flow')} of other devices",
    )


def _told(item: Plain) -> Sequence[Plain]:
    told: Sequence[Plain] = item["receipts"]
    return told


def _clock(instant: str) -> str:
    return instant[:19].replace("T", " ")
