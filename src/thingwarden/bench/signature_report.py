"""The report on signature engines beside the product, as Markdown, with its figures as JSON.

In: what ``signatures.run_contest`` found, costs, the referee's held-out counts. Out: text and files.
Must never: leave out a table because of what it says, or a contestant that did not run without its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.signature_cost import START_ONLY
from thingwarden.bench.signature_plots import draw_signatures
from thingwarden.bench.signature_pool import held_out_tpr, pool_contest, pool_held_out
from thingwarden.bench.signatures import PRODUCT

HELD_OUT: Final = f"{PRODUCT}, held out"
_INTRODUCTION: Final = """\
Made by `thingwarden bench signatures`. Every contestant is given the same packets in the same run; flows are those of \
Thingwarden's meter. An alert belongs to the last flow between its two ends that had begun when it was raised. An \
*alarm* is what a person is told once: an incident of Thingwarden's; for a signature engine all alerts of one \
signature on one device within an hour. *Loud* alarms are signatures of severity 1 and 2, and incidents that policy \
would answer with more than a notification. An alarm is true where at least half of its labelled flows are malicious. \
An attack, all acts of one name in one run, is found where an alarm speaks of one of its flows; the seconds count from \
its first flow's start. *Any source* lets rules against the internet look at neighbours, too (`EXTERNAL_NET: any`); as \
packaged, Suricata does not, and most attacks inside a home are none of its business."""
_GOOD_AT: Final = """\
## What signatures are good at

- **Known exploits and known C&C, by payload**: they name the family, the tool or the vulnerability, which no flow \
statistics can, from the first matching packet. Thingwarden needs some history before it speaks.
- **Cleartext rules of conduct** (an IRC session, an executable by plain HTTP, a default password): right or wrong at \
once, and readable by anyone.
- They need the payload: what is encrypted, unanswered (a scan, a SYN flood) or new leaves nothing to match, and of a \
flood or a beacon only what answers is seen. Severity is the rule's author's opinion, not a probability.
- An EVE alert names two addresses. Which of them is at fault it says only where the rule has `target:`; the rules \
used here hardly do, so the role column is empty for them.

Both belong on a gateway: alerts are evidence beside the model ([detection](../detection.md))."""
_LIMITS: Final = """\
## What these figures cannot say

- The rules of 2019 are of the era of IoT-23 and were partly written after those malware families were known; those \
of 2025 lack the file of malware rules (it was not at hand), so neither is a full set of its day.
- The lab's malware has its classes' behaviour, not a real family's payload: rules for families cannot match, rules \
for tools and protocols can. This favours Thingwarden. IoT-23's packets are real malware's.
- In the lab owners mend cameras and controllers by telnet with the factory password. Rules that know it are \
right, and their alarms count as false, for it is no attack; a person would want to hear of it. The owner's own nmap \
(hard-owner-scan) would be on the product's allow list, which was empty here.
- IoT-23's labels call some requests of 42-1's trojan benign that fetch from its maker's hosts; alerts on them count \
as false.
- A capture of benign devices is counted as one device. Engines run with the packaged configuration, all rules of the \
set enabled, nothing tuned but what *any source* says; a person who looks after an engine switches noisy rules off.
- Rules by address (drop lists of 2019) accuse whoever has the address now."""


def render_signatures(summary: Mapping[str, Any]) -> str:
    """The report, Markdown."""
    parts = [
        "# Signature engines beside Thingwarden",
        _INTRODUCTION,
        *_verdict(summary),
        _render_contestants(summary),
        *_render_lab(summary),
        _render_malware(summary),
        _render_benign(summary),
        _render_by_name(summary),
        _render_noise(summary),
        *_render_costs(summary),
        _GOOD_AT,
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def summarise(found: Mapping[str, Any], held_out: Mapping[str, Sequence[Any]], costs: Mapping[str, Any]) -> Any:
    """Everything that the report says: the run's records with their sums, the referee's counts and the costs."""
    records = found["records"][PRODUCT]
    tprs = {
        record["recording"]: held_out_tpr(held_out, record) for record in records if record["collection"] == "malware"
    }
    return {
        **found,
        "pooled": pool_contest(found),
        "held_out": {**pool_held_out(held_out, records), "tpr": tprs},
        "costs": costs,
    }


def write_signatures(summary: Mapping[str, Any], out: Path, picture: Path) -> Path:
    """Write ``signatures.md`` and ``signatures.json`` into ``out``, and the picture; the first one's path."""
    out.mkdir(parents=True, exist_ok=True)
    picture.parent.mkdir(parents=True, exist_ok=True)
    (out / "signatures.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    picture.write_text(draw_signatures(summary["pooled"], _false_rates(summary)), encoding="utf-8")
    report = out / "signatures.md"
    report.write_text(render_signatures(summary), encoding="utf-8")
    return report


def _false_rates(summary: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """False alarms per device-day, all and loud, for the picture."""
    rates: dict[str, tuple[float, float | None]] = {}
    for name, figures in summary["pooled"].items():
        benign = figures["benign"]
        if benign and benign["false_per_device_day"] is not None:
            title = f"{name}, seen in training" if _seen_mark(name, benign) else name
            rates[title] = benign["false_per_device_day"], benign["false_loud_per_device_day"]
        held_out = summary["held_out"]["benign"] if name == PRODUCT else None
        if held_out:
            rates[HELD_OUT] = held_out["false_per_device_day"], None
    return rates


def _verdict(summary: Mapping[str, Any]) -> Iterator[str]:
    for name, reason in summary["not_run"].items():
        yield f"**{name}: not run**: {reason}."
    lines = []
    for name, figures in summary["pooled"].items():
        lab, benign = figures["lab"], figures["benign"]
        found = f"{lab['found']} of {lab['attacks']} attacks found in the lab" if lab else "no run of the lab"
        per_day = _number(benign["false_per_device_day"], 2) if benign else "-"
        loud = f" ({_number(benign['false_loud_per_device_day'], 2)} loud)" if benign else ""
        lines.append(f"- **{name}**: {found}; {per_day} false alarms a device-day{loud}{_seen_mark(name, benign)}.")
        held_out = summary["held_out"]["benign"] if name == PRODUCT else None
        if held_out:
            lines.append(f"- **{HELD_OUT}**: {_number(held_out['false_per_device_day'], 2)} false alarms a device-day.")
    yield "\n".join(lines)
    lab = summary["pooled"][PRODUCT]["lab"]
    missed = [name for name, entry in lab["by_class"].items() if not entry["found"]] if lab else []
    if missed:
        yield f"**Classes of which {PRODUCT} found no attack at all**: {', '.join(missed)}."


def _seen_mark(name: str, benign: Mapping[str, Any] | None) -> str:
    return ", on devices seen in training" if name == PRODUCT and benign and benign["is_seen"] else ""


def _render_contestants(summary: Mapping[str, Any]) -> str:
    model = summary["model"]
    rows = [(PRODUCT, f"{model['name']} of {model['trained_at']}, thresholds as shipped", "-", "-", "-")]
    for name, engine in summary["engines"].items():
        rules = f"{engine.get('rules_loaded', 0):,} ({engine.get('rules_refused', 0)} refused)"
        ended = engine.get("ended", {}).get("peak_bytes")
        rows.append((name, f"Suricata {engine['version']}", rules, _megabytes(ended), str(engine.get("captures", "-"))))
    columns = ("contestant", "what", "rules", "peak memory over all files", "files in one process")
    return "## Contestants\n\n" + _table(columns, rows)


def _render_lab(summary: Mapping[str, Any]) -> Iterator[str]:
    labs = {name: figures["lab"] for name, figures in summary["pooled"].items() if figures["lab"]}
    if not labs:
        return
    runs = next(iter(labs.values()))["recordings"]
    yield f"""## The lab: attacks that nobody has seen

{runs} runs in network namespaces, whole packets kept: attacks by real tools and by behaviours of the lab, and \
harmless evenings among them. No contestant has learned from them.

![attacks found and false alarms](../images/signatures.svg)"""
    columns = (
        "contestant", "attacks found", "median seconds", "TPR by pattern (95 %)", "TPR by row", "loud TPR",
        "FPR by pattern", "FPR by row", "true alarms", "right role", "false alarms (loud)",
    )  # fmt: skip
    yield _table(columns, [_lab_row(name, lab) for name, lab in labs.items()])
    yield _acts_table(labs)
    yield _false_by_scenario(summary["records"])


def _lab_row(name: str, lab: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = lab["tpr_interval"] or (None, None)
    alarms = lab["alarms"]
    role = f"{alarms['with_right_role']} of {alarms['with_role']}" if alarms["with_role"] else "-"
    return (
        name,
        f"{lab['found']} of {lab['attacks']}",
        _number(lab["median_after_s"], 1),
        f"{_number(lab['tpr'], 3)} ({_number(low, 2)} to {_number(high, 2)})",
        _number(lab["tpr_by_row"], 3),
        _number(lab["tpr_loud"], 3),
        _number(lab["fpr"], 4),
        _number(lab["fpr_by_row"], 4),
        str(alarms["true"]),
        role,
        f"{alarms['false']} ({alarms['false_loud']})",
    )


def _false_by_scenario(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """False alarms of each scenario's runs, where any contestant raised one."""
    counts: dict[str, dict[str, list[int]]] = {}
    for name, records in tables.items():
        for record in (record for record in records if record["collection"] == "lab" and not record["is_seen"]):
            scenario = record["recording"].rsplit("-", 2)[0]
            entry = counts.setdefault(scenario, {key: [0, 0] for key in tables})[name]
            entry[0] += record["alarms"]["false"]
            entry[1] += record["benign"]["rows_said"]
    rows = [
        (scenario, *(f"{false} ({rows:,})" for false, rows in entry.values()))
        for scenario, entry in sorted(counts.items())
        if any(false for false, _ in entry.values())
    ]
    return (
        "False alarms, and benign flows called malicious, by scenario (hard-*, home-day: nothing bad happens):\n\n"
        + (_table(("scenario", *tables), rows))
    )


def _acts_table(labs: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(labs.values()))
    rows = []
    for act, entry in sorted(first["by_act"].items(), key=lambda item: (item[1]["class"], item[0])):
        cells = []
        for lab in labs.values():
            told = lab["by_act"][act]
            after = f", {_number(told['median_after_s'], 1)} s" if told["found"] else ""
            cells.append(f"{told['found']}{after}")
        rows.append((entry["class"], act, str(entry["attacks"]), *cells))
    return "How many were found, and the median seconds until then:\n\n" + _table(
        ("class", "attack", "times", *labs), rows
    )


def _render_malware(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, records in summary["records"].items():
        for record in (record for record in records if record["collection"] == "malware"):
            rows.append(_malware_row(name, record))
            tprs = summary["held_out"]["tpr"].get(record["recording"], (None, None))
            if name == PRODUCT and tprs[0] is not None:
                cells = (_number(tprs[0], 3), _number(tprs[1], 3), *("-",) * 5)
                rows.append((record["recording"], HELD_OUT, *cells))
    columns = (
        "capture", "contestant", "TPR by pattern", "TPR by row", "benign flows called malicious", "true alarms",
        "false alarms (loud)", "without label", "first alarm after s",
    )  # fmt: skip
    note = (
        "Packets of which Zeek's log has a label by flow: 42-1 whole, of 34-1 its IRC C&C only. *Seen in training* "
        f"rows enter no sum; *{HELD_OUT}* is what the referee counted on the log of the same capture with a model "
        "that had not seen it. Alarms without label: their flows are those that the log most likely mislabels."
    )
    return "## Real malware (IoT-23)\n\n" + note + "\n\n" + _table(columns, sorted(rows))


def _malware_row(name: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    malicious, benign, alarms = record["malicious"], record["benign"], record["alarms"]
    return (
        record["recording"],
        f"{name}, seen in training" if name == PRODUCT and record["is_seen"] else name,
        _number(_share(malicious["weight_said"], malicious["weight"]), 3),
        _number(_share(malicious["rows_said"], malicious["rows"]), 3),
        f"{benign['rows_said']} of {benign['rows']:,}",
        str(alarms["true"]),
        f"{alarms['false']} ({alarms['false_loud']})",
        str(alarms["unlabelled"]),
        _number(record["first_alarm_after_s"], 0),
    )


def _render_benign(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, figures in summary["pooled"].items():
        benign, set_up = figures["benign"], figures["set_up"]
        rows.append((f"{name}{_seen_mark(name, benign)}", *_benign_cells(benign), *_set_up_cells(set_up)))
        if name == PRODUCT:
            held_out = summary["held_out"]
            cells = (*_benign_cells(held_out["benign"]), *_set_up_cells(held_out["set_up"]))
            rows.append((HELD_OUT, *cells))
    columns = (
        "contestant", "device-days", "false alarms (loud)", "a device-day (loud)", "FPR by pattern", "FPR by row",
        "set-up sessions", "accused per 100 (loudly)",
    )  # fmt: skip
    note = (
        "Home devices of 2020 and a Hue bridge of 2018 (device-days), and devices being set up in 2016 (sessions). "
        f"*{HELD_OUT}*: the referee's models of the same recipe, each on captures that it had not seen; its bridge "
        "is read from Zeek's log."
    )
    return "## Benign devices\n\n" + note + "\n\n" + _table(columns, rows)


def _benign_cells(figures: Mapping[str, Any] | None) -> tuple[str, ...]:
    if figures is None:
        return ("-",) * 5
    loud, loud_per_day = figures.get("false_loud"), figures.get("false_loud_per_device_day")
    return (
        _number(figures["device_days"], 1),
        f"{figures['false']:g} ({_number(loud, 0)})",
        f"{_number(figures['false_per_device_day'], 2)} ({_number(loud_per_day, 2)})",
        _number(figures["fpr"], 4),
        _number(figures["fpr_by_row"], 4),
    )


def _set_up_cells(figures: Mapping[str, Any] | None) -> tuple[str, ...]:
    if figures is None:
        return ("-",) * 2
    loudly = figures.get("accused_loudly_per_100_sessions")
    accused = f"{_number(figures['accused_per_100_sessions'], 1)} ({_number(loudly, 1)})"
    return f"{figures['sessions']:.0f}", accused


def _render_by_name(summary: Mapping[str, Any]) -> str:
    tables = {
        name: {record["recording"]: record for record in records if record["collection"] == "by name"}
        for name, records in summary["records"].items()
    }
    rows = []
    for recording, record in sorted(next(iter(tables.values())).items()):
        rows.append((recording, f"{record['flows']:,}", *(_told(table[recording]) for table in tables.values())))
    note = (
        "Small captures whose file name says what they hold; no flow has a label, so they show what is said and "
        "count in no rate. None of them was learned from."
    )
    return "## Attacks by file name\n\n" + note + "\n\n" + _table(("capture", "flows", *tables), rows)


def _told(record: Mapping[str, Any]) -> str:
    names = [entry["name"] for entry in record["names"]]
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return "; ".join(map(_cell, names[:2])) + more if names else "nothing"


def _render_noise(summary: Mapping[str, Any]) -> str:
    lines = ["## What the false alarms are\n\nOn benign devices, devices being set up, and in the lab:\n"]
    for name, records in summary["records"].items():
        counts: dict[str, int] = {}
        for record in (record for record in records if record["collection"] in ("benign", "set-up", "lab")):
            for entry in record["names"]:
                counts[entry["name"]] = counts.get(entry["name"], 0) + entry["false"]
        top = sorted(counts.items(), key=lambda item: -item[1])[:5]
        told = "; ".join(f"{_cell(title)} ({count})" for title, count in top if count)
        lines.append(f"- **{name}**: {told or 'none'}.")
    return "\n".join(lines)


def _render_costs(summary: Mapping[str, Any]) -> Iterator[str]:
    costs = summary["costs"]
    if not costs:
        return
    titles = list(next(iter(costs.values())))
    rows = []
    for title in titles:
        cells = []
        for figures in costs.values():
            entry = figures[title]
            cells.append(f"{entry['cpu_s']:.2f} s, {_megabytes(entry['peak_bytes'])}")
        rows.append((title, *cells))
    yield (
        "## What it costs\n\nProcessor seconds and peak memory of a whole process that reads a file, median of three; "
        f'"{START_ONLY}" is what each line contains of loading rules or a model.\n\n' + _table(("file", *costs), rows)
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "/")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.0f} MB"
