"""``thingwarden watch``: packets in as they pass, incidents told and orders carried out while it happens.

In: an interface or a capture that is being written, settings. Out: a line for each incident, order and end; a summary
when it is stopped.
Must never: put anything into force but by the enforcer that was chosen; the dry run is the default.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.enforcement import learner, open_enforcer, policy_key
from thingwarden.cli.invocation import Invocation, common_options, printable, quantity
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.cli.replay import open_journal, plan_from_settings
from thingwarden.domain.errors import EnforcementError, RequestError, ThingwardenError
from thingwarden.ingest.compression import STANDARD_INPUT

if TYPE_CHECKING:
    from thingwarden.config import Settings
    from thingwarden.domain.incident import IncidentChange
    from thingwarden.domain.ports import PacketSource
    from thingwarden.ingest.growing import GrowingSource
    from thingwarden.ingest.live import LiveSource
    from thingwarden.model.artifact import Artifact
    from thingwarden.serve.live import Carried, Course, Live, LiveSummary, Told
    from thingwarden.serve.store import Journal

STAGES: Final = ("read", "metered", "encoded", "scored", "decided", "applied")


@click.command("watch")
@click.argument("capture", required=False, type=click.Path(path_type=Path))
@click.option("-i", "--interface", metavar="IFACE", help="The interface to listen on.")
@click.option(
    "-f",
    "--filter",
    "expression",
    metavar="EXPRESSION",
    help="Take only what fits, in tcpdump's language; with -i.",
)
@click.option(
    "--enforce",
    type=click.Choice(["dry-run", "socket"]),
    help="Who puts decisions into force, instead of the settings.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this time.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Journal to add to instead of the configured one.",
)
@click.option("--no-journal", is_flag=True, help="Write nothing down.")
@model_option
@common_options
@click.pass_obj
def watch(
    invocation: Invocation,
    capture: Path | None,
    interface: str | None,
    expression: str | None,
    enforce: str | None,
    seconds: float | None,
    journal: Path | None,
    no_journal: bool,
    model: Path | None,
) -> None:
    """Watch the network, tell what happens, and answer it; stop with Ctrl-C or SIGTERM.

    Packets come from an interface (-i IFACE), or from CAPTURE: "-" is what another program writes into standard input,
    as `tcpdump -U -w -` does, and a folder is one into which captures are written in turn.

    Listening on an interface needs root or the capability CAP_NET_RAW. Unless --enforce or the settings say
    otherwise nothing is changed on the network.
    """
    # Capabilities are given up thread by thread, so NumPy must not start its own before; nothing here multiplies.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if journal is not None and no_journal:
        raise RequestError("watch", "--journal and --no-journal exclude each other", "give one of them")
    artifact = open_artifact(invocation, model)
    kept = None if no_journal else open_journal(invocation, journal)
    settings = _chosen(invocation.loaded.settings, enforce)
    if interface is not None:
        settings = _at_interface(settings, interface)
    if kept is not None:
        _reconcile(invocation, settings, kept)
    with _open_packets(interface, capture, expression) as source:
        live = compose_live(invocation, source, artifact, kept, settings)
        gc.freeze()  # what is there now stays: a collection must not walk it while packets wait
        with _told_to_stop(seconds) as is_stopped:
            place = interface or ("standard input" if capture == STANDARD_INPUT else printable(str(capture)))
            invocation.remark(f"watching {place}; stop with Ctrl-C")
            summary = live.run(is_stopped)
        for note in source.notes:
            invocation.remark(note)
        show_summary(invocation, summary, source.counts)


def _open_packets(interface: str | None, capture: Path | None, expression: str | None) -> LiveSource | GrowingSource:
    """Where packets come from; what opening it needed is given up before anything is read."""
    from thingwarden.enforce.privilege import keep_only
    from thingwarden.ingest.growing import GrowingSource, pipe, rotating_folder
    from thingwarden.ingest.live import LiveSource

    if (interface is None) == (capture is None):
        raise RequestError("watch", "wants one place to read packets from", "give -i IFACE, a folder, or - for a pipe")
    if interface is not None:
        source = LiveSource(interface, expression=expression)
        keep_only(frozenset())
        return source
    if expression is not None:
        raise RequestError("watch", "--filter needs an interface", "give it to the program that writes the capture")
    if capture == STANDARD_INPUT:
        return GrowingSource(pipe(sys.stdin.fileno(), "standard input"))
    assert capture is not None
    if capture.is_file():
        raise RequestError(
            printable(str(capture)), "is a file", f"thingwarden replay {capture}, or pipe it into thingwarden watch -"
        )
    return GrowingSource(rotating_folder(capture), is_lenient=True)


def compose_live(
    invocation: Invocation,
    source: PacketSource,
    artifact: Artifact,
    journal: Journal | None,
    settings: Settings,
    clock: Callable[[], float] = time.time,
) -> Live:
    """Join the stages by the settings; what happens is shown."""
    from thingwarden.encode.sentence import SentenceEncoder
    from thingwarden.encode.vocabulary import Vocabulary
    from thingwarden.model.scorer import FlowScorer
    from thingwarden.serve.allowed_names import AllowedNames
    from thingwarden.serve.explain import Explainer, recalling
    from thingwarden.serve.live import Live

    plan = plan_from_settings(settings, artifact)
    enforcer, names = open_enforcer(settings), AllowedNames(plan.policy.allowed_domains)
    invocation.on_close(names.close)
    vocabulary = Vocabulary.from_json(artifact.vocabulary)
    scorer = recalling(FlowScorer(artifact, threads=settings.model.threads_count))
    return Live(
        source,
        SentenceEncoder(vocabulary, local_networks=settings.network.local_prefixes),
        scorer,
        enforcer,
        plan,
        explainer=Explainer(scorer, vocabulary, plan.calibration.temperature),
        recalls=scorer,
        journal=journal,
        key=None if journal is None else policy_key(settings, is_made=True),
        tell=lambda told: _show(invocation, told),
        clock=clock,
        learn=learner(enforcer, names),
    )


def _reconcile(invocation: Invocation, settings: Settings, journal: Journal) -> None:
    """Make journal and enforcer agree before anything new is ordered; an enforcer that is away does not end a watch."""
    from datetime import UTC, datetime

    from thingwarden.config import policy_settings
    from thingwarden.serve.desk import Desk

    desk = Desk(journal, open_enforcer(settings), policy_settings(settings), policy_key(settings, is_made=True))
    try:
        for taken in desk.reconcile(datetime.now(UTC)):
            invocation.remark(f"{taken.step.remedy.value} {taken.step.decision_id}: {printable(taken.step.why)}")
    except EnforcementError as error:
        invocation.remark(str(error))


def _chosen(settings: Settings, enforce: str | None) -> Settings:
    from thingwarden.enforce_section import EnforcerKind

    if enforce is None:
        return settings
    section = settings.enforce.model_copy(update={"by": EnforcerKind(enforce)})
    return settings.model_copy(update={"enforce": section})


def _at_interface(settings: Settings, interface: str) -> Settings:
    """The settings, with the interface's own networks among those whose hosts are devices."""
    from thingwarden.enforce.own_hosts import networks_of_interface

    known = (*settings.network.local_prefixes, *networks_of_interface(interface))
    section = settings.network.model_copy(update={"local_prefixes": tuple(dict.fromkeys(known))})
    return settings.model_copy(update={"network": section})


@contextmanager
def _told_to_stop(seconds: float | None) -> Iterator[Callable[[], bool]]:
    """Whether a signal or the time has come; the signals do what they did before when this is left."""
    until_s = float("inf") if seconds is None else time.monotonic() + seconds
    signals: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(signals) or time.monotonic() >= until_s
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(invocation: Invocation, told: Told) -> None:
    """One line for people, JSON lines for programs."""
    from thingwarden.domain.incident import IncidentChange
    from thingwarden.domain.response import Refusal
    from thingwarden.serve.live import Carried
    from thingwarden.serve.wire import plain_from_value

    if isinstance(told, Carried):
        _show_order(invocation, told)
        return
    if isinstance(told, ThingwardenError):
        invocation.remark(str(told))
        return
    if invocation.wants_json:
        kind = {IncidentChange: "incident", Refusal: "refusal"}.get(type(told), "receipt")
        value = told.incident if isinstance(told, IncidentChange) else told
        invocation.emit(kind, plain_from_value(value))
    elif isinstance(told, IncidentChange):
        invocation.show(_incident_line(told))
    elif isinstance(told, Refusal):
        invocation.show(f"{told.at:%H:%M:%S}   not {told.proposal.act.value}: {printable('; '.join(told.reasons))}")
    else:
        invocation.show(f"{told.at:%H:%M:%S}   ended {told.decision_id[:12]}: {printable(told.detail)}")


def _show_order(invocation: Invocation, told: Carried) -> None:
    from thingwarden.serve.wire import plain_from_value

    course = _spans_ms(told.course)
    if invocation.wants_json:
        invocation.emit("decision", plain_from_value(told.decision))
        invocation.emit("receipt", plain_from_value(told.receipt))
        at_s = told.course.packet_at_s
        invocation.emit("course", {"decision_id": told.decision.decision_id, "packet_at_s": at_s, **course})
        return
    decision, lifetime = told.decision, told.decision.expires_at - told.decision.decided_at
    invocation.show(
        f"{told.receipt.at:%H:%M:%S}   {decision.act.value} {printable(str(decision.target))} for {lifetime}, "
        f"{sum(course.values()):.0f} ms after the packet: {told.receipt.status.value}, {printable(told.receipt.detail)}"
    )


def _spans_ms(course: Course) -> dict[str, float]:
    """Milliseconds of each stage, by name."""
    instants = asdict(course)
    ends_s = [instants["packet_at_s"], *(instants[f"{stage}_at_s"] for stage in STAGES)]
    spans = zip(STAGES, ends_s, ends_s[1:], strict=False)
    return {f"{stage}_ms": round((after_s - before_s) * 1e3, 3) for stage, before_s, after_s in spans}


def _incident_line(change: IncidentChange) -> str:
    from thingwarden.domain.incident import ChangeKind

    incident = change.incident
    head = f"{change.at:%H:%M:%S} {incident.incident_id} {incident.severity.value}"
    if change.kind is ChangeKind.ENDED:
        return f"{head} ended: {printable(incident.summary)}"
    if change.kind is ChangeKind.EXPLAINED:
        return f"{head} because: {printable('; '.join(reason.text for reason in incident.reasons))}"
    return f"{head} {printable(incident.summary)}"


def show_summary(invocation: Invocation, summary: LiveSummary, source_counts: Mapping[str, int]) -> None:
    """How much was seen and found, and what was left out of what the source read."""
    from thingwarden.serve.wire import plain_from_value

    values: dict[str, Any] = plain_from_value(summary)
    counts = {name: values[name] for name in values if name.endswith("_count")}
    left_out = {name: count for name, count in source_counts.items() if name not in ("frames", "packets")}
    if invocation.wants_json:
        record = {
            "started_at": values["started_at"],
            "ended_at": values["ended_at"],
            **counts,
            "device_count": len(summary.devices),
            "incident_count": len(summary.incidents),
            "left_out": left_out,
        }
        invocation.emit("watch_summary", record)
        return
    span_s = (summary.ended_at - summary.started_at).total_seconds()
    invocation.show(
        f"{quantity(summary.packet_count, 'packet')} and {quantity(summary.flow_count, 'flow')} of "
        f"{quantity(len(summary.devices), 'device')} in {span_s:.0f} s, "
        f"{quantity(summary.dropped_packet_count, 'packet')} dropped by the kernel: "
        f"{quantity(len(summary.incidents), 'incident')}, {quantity(summary.decision_count, 'act')} ordered, "
        f"{summary.refusal_count:,} refused by policy."
    )
    if left_out:
        reasons = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(left_out.items()))
        invocation.remark(f"left out: {reasons}")
    early = summary.evicted_flow_count + summary.hastened_flow_count
    if early:
        invocation.remark(f"{quantity(early, 'flow')} judged before its end: too many at a time")
