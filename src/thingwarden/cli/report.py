"""How devices, incidents and planned acts look to people.

In: plain data in the shapes of ``serve.wire``. Out: rich renderables.
Must never: read markup in a text that came from outside; leave out why something was done or refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from thingwarden.cli.invocation import printable, quantity, table
from thingwarden.domain.taxonomy import TECHNIQUES

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

Plain = Mapping[str, Any]

NAMED_SHARE: Final = 0.01
NAMED_FLOW_COUNT: Final = 4
"""A class's techniques are named where it holds this share of the incident's flows and at least so many."""

SEVERITY_STYLE: Final = {"high": "bold red", "medium": "bold yellow", "low": "bold cyan"}
_ACT_STYLE: Final = {"notify": "cyan", "rate_limit": "yellow", "block_flow": "yellow"}


def devices_table(devices: Sequence[Plain]) -> Table:
    """Who is on the network, how much they said, how much of it is suspect."""
    columns = ("device", "MAC", "serves as", "flows", "malicious", "incidents")
    ordered = sorted(devices, key=lambda device: (-len(device["incident_ids"]), -device["malicious_flow_count"]))
    rows = [
        (
            device["name"],
            device["device"]["mac"] or "-",
            device["role"] or "-",
            f"{device['flow_count']:,}",
            f"{device['malicious_flow_count']:,}" if device["malicious_flow_count"] else "-",
            _count_style(len(device["incident_ids"])),
        )
        for device in ordered
    ]
    return table(quantity(len(devices), "device"), columns, rows, numeric=("flows", "malicious", "incidents"))


def incidents_table(incidents: Sequence[Plain], title: str = "") -> Table:
    """One line for each incident; without a title the table says how many there are."""
    rows = [
        (
            incident["incident_id"],
            _severity(incident["severity"]),
            incident["device"]["name"],
            incident["role"],
            class_name(incident["attack_class"]),
            _clock(incident["first_seen_at"]),
            f"{incident['flow_count']:,}",
            _percent(incident["confidence"]),
        )
        for incident in incidents
    ]
    columns = ("incident", "severity", "device", "role", "what", "first seen (UTC)", "flows", "confidence")
    return table(title or quantity(len(incidents), "incident"), columns, rows, numeric=("flows", "confidence"))


def incident_panel(
    incident: Plain,
    decisions: Sequence[Plain],
    refusals: Sequence[Plain],
    receipts: Sequence[Plain],
    most_lines: int | None = None,
) -> Panel:
    """One incident whole: the sentence, the evidence, what is planned, what was refused and why.

    Args:
        incident, decisions, refusals, receipts: of one incident; receipts of others are passed over.
        most_lines: different acts, and different refusals, shown; None shows all.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    style = SEVERITY_STYLE[incident["severity"]]
    title = Text.assemble(
        (f" {incident['severity'].upper()} ", f"{style} reverse"),
        (f" {class_name(incident['attack_class'])} ", style),
        f"{incident['device']['name']} as {incident['role']} ",
    )
    since = incident["first_seen_at"]
    plan = [*_planned(decisions, receipts, since, most_lines), *_refused(refusals, most_lines)]
    body = Group(
        Text(_sentence(incident["summary"]), style="bold"),
        Text(_facts(incident), style="dim"),
        *_why(incident),
        *_sightings(incident),
        *((Text(), _evidence(incident)) if incident["detections"] else ()),
        _labelled(plan) if plan else Text("nothing is planned", style="dim"),
    )
    return Panel(body, title=title, title_align="left", border_style=style, padding=(0, 1))


def _why(incident: Plain) -> list[Table]:
    """What moved the score, a line for each reason; the last one of a class says how far all of them move it."""
    from rich.text import Text

    reasons: Sequence[Plain] = incident.get("reasons", ())
    lines: list[tuple[Text, Text]] = []
    for place, reason in enumerate(reasons):
        kind = reason["attack_class"]
        told_of = "" if kind == incident["attack_class"] else f"{class_name(kind)}: "
        is_last = place + 1 == len(reasons) or reasons[place + 1]["attack_class"] != kind
        is_joined = is_last and place > 0 and reasons[place - 1]["attack_class"] == kind
        together = f", all of them {reason['together_nats']:.1f}" if is_joined else ""
        weight = f" ({reason['nats']:.1f} nats{together})"
        label = Text("" if lines else "why", style="bold blue")
        lines.append((label, Text.assemble(told_of, printable(reason["text"]), (weight, "dim"))))
    return [_labelled(lines)] if lines else []


def _sightings(incident: Plain) -> list[Table]:
    """What others know, a line for each rule or entry; its author's words stand between quotes."""
    from rich.text import Text

    lines: list[tuple[Text, Text]] = []
    for sighting in incident.get("sightings", ()):
        hours = f", in {quantity(sighting['hour_count'], 'hour')}" if sighting["hour_count"] > 1 else ""
        quote = f': "{printable(sighting["quote"])}"' if sighting["quote"] else ""
        place = f", {printable(sighting['origin'])}" if sighting["origin"] else ""
        weight = f" ({sighting['grade']}, {sighting['weight_nats']:.1f} nats{hours})"
        text = Text.assemble(printable(sighting["name"]), place, (quote, "italic"), (weight, "dim"))
        lines.append((Text("" if lines else "also", style="bold blue"), text))
    return [_labelled(lines)] if lines else []


def score_table(attacks: Sequence[Plain]) -> Table:
    """What became of each attack of a lab capture."""
    rows = [
        (
            class_name(attack["attack_class"]),
            attack["offender"],
            f"{attack['flagged_count']:,} of {attack['flow_count']:,}",
            "yes" if attack["incident_ids"] else "MISSED",
            "yes" if attack["is_named"] else "no",
            ", ".join(attack["planned"]) or "none",
        )
        for attack in attacks
    ]
    columns = ("attack", "by", "flows flagged", "found", "named", "planned")
    return table("against the truth", columns, rows, numeric=("flows flagged",))


def class_name(wire_name: str) -> str:
    """An attack class as people say it."""
    return {"c2": "command and control", "dos": "DoS", "ddos": "DDoS", "mitm": "man in the middle"}.get(
        wire_name, wire_name.replace("_", " ")
    )


def _facts(incident: Plain) -> str:
    since = incident["first_seen_at"]
    span = f"{_clock(since)} to {_moment(incident['last_seen_at'], since)} UTC"
    origin = "proven" if incident["has_proven_origin"] else "not proven"
    return (
        f"{incident['incident_id']}, {span}, confidence {_percent(incident['confidence'])}, "
        f"ATT&CK {_techniques(incident)}, sender {origin}"
    )


def _techniques(incident: Plain) -> str:
    """Techniques by how many flows show them; those of classes with few flows are only counted."""
    least_count = max(NAMED_FLOW_COUNT, NAMED_SHARE * incident["flow_count"])
    named = {name for name, count in incident["class_counts"].items() if count >= least_count}
    named.add(incident["attack_class"])
    of_named = {technique for kind, ids in TECHNIQUES.items() if kind.value in named for technique in ids}
    shown = [technique for technique in incident["techniques"] if technique in of_named]
    other_count = len(incident["techniques"]) - len(shown)
    return (", ".join(shown) or "none") + (f" ({other_count} more on few flows)" if other_count else "")


def _evidence(incident: Plain) -> Table:
    """The flows that moved the score most."""
    rows = [
        (
            _moment(flow["started_at"], incident["first_seen_at"]),
            f"{'to' if flow['is_outbound'] else 'from'} {flow['peer']}",
            f"{flow['proto']}/{flow['port']}" + (f" {flow['service']}" if flow["service"] else ""),
            flow["conn_state"] or "open",
            _bytes(flow["sent_bytes"]),
            _bytes(flow["received_bytes"]),
            _percent(flow["probability"]),
        )
        for flow in incident["detections"]
    ]
    loudest = "loudest" if len(rows) == 1 else f"{len(rows)} loudest"
    title = f"evidence: the {loudest} of {quantity(incident['flow_count'], 'flow')}"
    columns = ("at", "peer", "service", "state", "sent", "received", "malicious")
    return table(title, columns, rows, numeric=("sent", "received", "malicious"), is_dense=True)


def _labelled(lines: Iterable[tuple[Text, Text]]) -> Table:
    """Labels to the left, texts beside them."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(width=4)
    made.add_column(overflow="fold")
    for label, text in lines:
        made.add_row(label, text)
    return made


def _planned(
    decisions: Sequence[Plain], receipts: Sequence[Plain], since: str, most: int | None
) -> Iterator[tuple[Text, Text]]:
    """What is ordered, in order of the first time, each with what the enforcer made of it then."""
    from rich.text import Text

    done = {receipt["decision_id"]: receipt for receipt in receipts if receipt["status"] != "revoked"}
    groups = _equal_orders(decisions, done)
    for orders in groups[:most]:
        first, act = orders[0], orders[0]["act"]
        yield (
            Text("plan", style="bold green"),
            Text.assemble(
                (f"{act} ", _ACT_STYLE.get(act, "red")),
                printable(first["target"]["text"]) if act != "notify" else "the owner",
                f" for {_lifetime(first)}{_ordered(orders, since)}. ",
                (printable(first["reason"]), "dim"),
            ),
        )
        receipt = done.get(first["decision_id"])
        if receipt is not None and act != "notify":
            yield Text(), Text(f"{receipt['enforcer']}: {printable(receipt['detail'])}", style="dim")
    rest = groups[most:] if most is not None else []
    if rest:
        orders_text = quantity(sum(len(orders) for orders in rest), "order")
        yield Text(), Text(f"{quantity(len(rest), 'more act')}, {orders_text}", style="dim")


def _equal_orders(decisions: Iterable[Plain], done: Mapping[str, Plain]) -> list[list[Plain]]:
    """Orders of the same act, target, lifetime and outcome together: one that expired is given anew."""
    groups: dict[tuple[object, ...], list[Plain]] = {}
    for decision in decisions:
        target = json.dumps(decision["target"], sort_keys=True)
        status = done.get(decision["decision_id"], {}).get("status")
        groups.setdefault((decision["act"], target, _lifetime(decision), status), []).append(decision)
    return list(groups.values())


def _ordered(orders: Sequence[Plain], since: str) -> str:
    """When an act was ordered; how often and until when, if more than once."""
    first_at, last_at = (_moment(order["decided_at"], since) for order in (orders[0], orders[-1]))
    return f" from {first_at}" if len(orders) == 1 else f", ordered {len(orders)} times from {first_at} to {last_at}"


def _refused(refusals: Sequence[Plain], most: int | None) -> Iterator[tuple[Text, Text]]:
    """What policy did not order, with its reasons; equal ones once."""
    from rich.text import Text

    grouped = _grouped_refusals(refusals)
    for wish, reasons, count in grouped[:most]:
        times = f" ({count} times)" if count > 1 else ""
        yield Text("not", style="bold magenta"), Text.assemble(f"{wish}{times}: ", (printable(reasons), "dim"))
    if most is not None and len(grouped) > most:
        yield Text(), Text(quantity(len(grouped) - most, "more refusal"), style="dim")


def _grouped_refusals(refusals: Iterable[Plain]) -> list[tuple[str, str, int]]:
    """Equal wishes with equal reasons once, with how often."""
    counts: dict[tuple[str, str], int] = {}
    for refusal in refusals:
        proposal = refusal["proposal"]
        key = f"{proposal['act']} {printable(proposal['target']['text'])}", "; ".join(refusal["reasons"])
        counts[key] = counts.get(key, 0) + 1
    return [(wish, reasons, count) for (wish, reasons), count in counts.items()]


def _severity(severity: str) -> Text:
    from rich.text import Text

    return Text(severity, style=SEVERITY_STYLE[severity])


def _count_style(count: int) -> Text:
    from rich.text import Text

    return Text(str(count) if count else "-", style="bold red" if count else "")


def _sentence(summary: str) -> str:
    text = printable(summary)
    return text if text.endswith(".") else f"{text}."


def _clock(instant: str) -> str:
    """``2026-01-02 03:04:05`` of an ISO 8601 instant."""
    return instant[:19].replace("T", " ")


def _moment(instant: str, since: str) -> str:
    """The time of day, with the date where it is not the day of ``since``."""
    return _clock(instant) if instant[:10] != since[:10] else _clock(instant)[-8:]


def _lifetime(decision: Plain) -> str:
    ends, begins = (datetime.fromisoformat(decision[key]) for key in ("expires_at", "decided_at"))
    minutes = round((ends - begins).total_seconds() / 60)
    return f"{minutes // 60} h" if minutes >= 60 and minutes % 60 == 0 else f"{minutes} min"


def _percent(ratio: float) -> str:
    """A share in whole percent; never a certainty that a model does not have."""
    return ">99%" if ratio > 0.99 else f"{ratio:.0%}"


def _bytes(count: int | None) -> str:
    """A byte count in at most five characters."""
    if count is None:
        return "?"
    for limit, divisor, unit in ((10_000, 1, ""), (10_000_000, 1_000, "k"), (10_000_000_000, 1_000_000, "M")):
        if count < limit:
            return f"{count // divisor}{unit}"
    return f"{count // 1_000_000_000}G"
