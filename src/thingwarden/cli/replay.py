"""``thingwarden replay`` and ``thingwarden demo``: recorded traffic in, incidents and a planned response out.

In: captures or logs. Out: devices, incidents, decisions; every judged flow, if wanted.
Must never: change anything on the network; the enforcer is the dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.inputs import InputPath, SourceChain, format_from_name, format_option, open_inputs
from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.cli.knowledge import NOTHING_KNOWN, Knowledge, read_knowledge, sighting_options
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.config import Settings
    from thingwarden.detect.link_watch import LinkWatch
    from thingwarden.domain.ports import FlowSource
    from thingwarden.model.artifact import Artifact
    from thingwarden.serve.replay import Replay, ReplayPlan, ReplayResult
    from thingwarden.serve.store import Journal

EXIT_INCIDENT: Final = 1
"""What ``--fail-on incident`` ends with."""

MOST_LINES: Final = 6
"""Different acts, and refusals, shown of each incident; ``incidents show`` tells all."""


@click.command("replay")
@click.argument("paths", type=InputPath, nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--flows", type=click.Path(path_type=Path, dir_okay=False), help="Write every judged flow here (JSON lines)."
)
@click.option("--fail-on", type=click.Choice(["incident"]), help="Exit 1 when there is one.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Journal to add to instead of the configured one.",
)
@click.option("--no-journal", is_flag=True, help="Write nothing down.")
@sighting_options
@model_option
@format_option
@common_options
@click.pass_obj
def replay(
    invocation: Invocation,
    paths: tuple[Path, ...],
    alerts: tuple[Path, ...],
    indicators: tuple[Path, ...],
    flows: Path | None,
    fail_on: str | None,
    journal: Path | None,
    no_journal: bool,
    model: Path | None,
    format_name: str | None,
) -> None:
    """Judge recorded traffic of one network: captures, Zeek logs, TON_IoT tables, compressed or not.

    Several PATHs are taken as parts of the same traffic. Nothing is changed on the network.
    """
    from thingwarden.detect.link_watch import LinkWatch
    from thingwarden.serve.replay import write_flows_to

    if journal is not None and no_journal:
        raise RequestError("replay", "--journal and --no-journal exclude each other", "give one of them")
    artifact = open_artifact(invocation, model)
    watch = LinkWatch()
    sources = open_inputs(paths, format_from_name(format_name), watch.observe)
    knowledge = read_knowledge(invocation, alerts, indicators)
    kept = None if no_journal else open_journal(invocation, journal)
    with judging(invocation, ", ".join(path.name for path in paths)) as progress:
        result = compose_replay(invocation, SourceChain(sources), artifact, kept, progress, knowledge, watch).run()
    invocation.remark_all(note for source in sources for note in source.notes)
    invocation.remark_all(knowledge.notes(result.stray_alert_count, result.stray_name_count))
    invocation.remark_all(f"{mac} claims addresses of others and sent nothing else" for mac in result.stray_link_macs)
    if flows is not None:
        write_flows_to(result, flows)
    show_result(invocation, result)
    if fail_on == "incident" and result.incidents:
        invocation.exit_code = EXIT_INCIDENT


@click.command("demo")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw what is shown into this file too.")
@model_option
@common_options
@click.pass_obj
def demo(invocation: Invocation, svg: Path | None, model: Path | None) -> None:
    """Judge the packaged sample: five minutes of a small home with two compromised devices.

    The last table holds what was found against what is true of the sample.
    """
    from thingwarden.config import PACKAGED_SAMPLE

    if svg is not None:
        invocation.record_output()
    artifact = open_artifact(invocation, model)
    sources = open_inputs((PACKAGED_SAMPLE,), None)
    with judging(invocation, "the packaged sample") as progress:
        result = compose_replay(invocation, SourceChain(sources), artifact, None, progress).run()
    show_result(invocation, result)
    show_score(invocation, result)
    if svg is not None:
        svg.write_text(invocation.picture("thingwarden demo"), encoding="utf-8")


def compose_replay(
    invocation: Invocation,
    source: FlowSource,
    artifact: Artifact,
    journal: Journal | None,
    progress: Callable[[str, int, int | None], None] | None,
    knowledge: Knowledge = NOTHING_KNOWN,
    link_watch: LinkWatch | None = None,
) -> Replay:
    """Join the stages by the settings: the one place that chooses what implements each port."""
    from thingwarden.encode.sentence import SentenceEncoder
    from thingwarden.encode.vocabulary import Vocabulary
    from thingwarden.enforce.dryrun import DryRunEnforcer
    from thingwarden.model.scorer import FlowScorer
    from thingwarden.serve.explain import Explainer, recalling
    from thingwarden.serve.replay import Replay

    settings = invocation.loaded.settings
    plan = replace(
        plan_from_settings(settings, artifact),
        alerts=knowledge.alerts,
        indicators=knowledge.indicators,
        names=knowledge.names,
        link_watch=link_watch,
    )
    vocabulary = Vocabulary.from_json(artifact.vocabulary)
    encoder = SentenceEncoder(vocabulary, local_networks=settings.network.local_prefixes)
    scorer = recalling(FlowScorer(artifact, threads=settings.model.threads_count))
    return Replay(
        source,
        encoder,
        scorer,
        DryRunEnforcer(),
        plan,
        explainer=Explainer(scorer, vocabulary, plan.calibration.temperature),
        journal=journal,
        progress=progress,
    )


def plan_from_settings(settings: Settings, artifact: Artifact) -> ReplayPlan:
    """How to judge by the settings, without anything that others know."""
    from thingwarden import config
    from thingwarden.respond.protect import LOCAL_NETWORKS
    from thingwarden.serve.replay import ReplayPlan

    return ReplayPlan(
        calibration=config.adjust_calibration(artifact.calibration, settings.detect),
        playbook=config.chosen_playbook(settings.policy),
        policy=config.policy_settings(settings),
        correlation=config.correlation_settings(settings.detect),
        local_networks=(*LOCAL_NETWORKS, *settings.network.local_prefixes),
        is_greedy=settings.policy.proposer is config.Proposer.PLANNER,
    )


def open_journal(invocation: Invocation, chosen: Path | None, is_read_only: bool = False) -> Journal:
    """The journal that was chosen, else the configured one; closed when the command ends."""
    from thingwarden.config import journal_path
    from thingwarden.serve.store import Journal

    journal = Journal(chosen or journal_path(invocation.loaded.settings.journal), is_read_only=is_read_only)
    invocation.on_close(journal.close)
    return journal


@contextmanager
def judging(invocation: Invocation, name: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar for reading, then judging."""
    with invocation.progress(f"judging {name}", "flows") as advance:
        yield lambda step, done, total: advance(done, total)


def show_result(invocation: Invocation, result: ReplayResult) -> None:
    """Print what was found and what is planned, for people or as JSON lines."""
    from thingwarden.serve.wire import plain_from_value

    parts: dict[str, list[dict[str, Any]]] = {
        "device": [{"name": item.name, **plain_from_value(item)} for item in result.devices],
        "incident": plain_from_value(result.incidents),
        "decision": plain_from_value(result.decisions),
        "refusal": plain_from_value(result.refusals),
        "receipt": plain_from_value(result.receipts),
    }
    summary = summary_of(result)
    if invocation.wants_json:
        for kind, records in parts.items():
            for record in records:
                invocation.emit(kind, record)
        invocation.emit("replay_summary", summary)
        return
    _show_people(invocation, parts, summary)


def show_score(invocation: Invocation, result: ReplayResult) -> None:
    """Print what was found in the packaged sample against the truth about it."""
    from thingwarden.bench.sample import score_sample
    from thingwarden.cli.report import score_table
    from thingwarden.config import PACKAGED_TIMING, PACKAGED_TRUTH
    from thingwarden.lab.truth import read_timing, read_truth
    from thingwarden.serve.wire import plain_from_value

    truth, timing = read_truth(PACKAGED_TRUTH), read_timing(PACKAGED_TIMING)
    score = score_sample(truth, timing, result.flows, result.verdicts, result.incidents, result.decisions)
    attacks = plain_from_value(score.attacks)
    if invocation.wants_json:
        for attack in attacks:
            invocation.emit("attack_score", attack)
        invocation.emit("sample_score", {"attack_count": len(attacks), "wrongly_accused": score.wrongly_accused})
        return
    accused = ", ".join(score.wrongly_accused) or "none"
    invocation.show("", score_table(attacks), f"Devices accused of what they did not do: {accused}.")


def summary_of(result: ReplayResult) -> dict[str, Any]:
    """How much was judged, how fast, and how much was found."""
    from thingwarden.serve.wire import plain_from_value

    return {
        "flow_count": result.flow_count,
        "word_count": result.word_count,
        "malicious_flow_count": result.malicious_flow_count,
        "device_count": len(result.devices),
        "incident_count": len(result.incidents),
        "decision_count": len(result.decisions),
        "refusal_count": len(result.refusals),
        "first_seen_at": plain_from_value(result.first_seen_at),
        "last_seen_at": plain_from_value(result.last_seen_at),
        "read_s": round(result.read_s, 3),
        "judge_s": round(result.judge_s, 3),
        "flows_per_s": round(result.flow_count / result.judge_s) if result.judge_s > 0 else None,
    }


def _show_people(invocation: Invocation, parts: dict[str, list[dict[str, Any]]], summary: dict[str, Any]) -> None:
    from thingwarden.cli.report import devices_table, incident_panel, incidents_table

    invocation.show(devices_table(parts["device"]))
    minor = [incident for incident in parts["incident"] if incident["severity"] == "low"]
    for incident in (incident for incident in parts["incident"] if incident not in minor):
        name = incident["incident_id"]
        decisions = [item for item in parts["decision"] if item["incident_id"] == name]
        refusals = [item for item in parts["refusal"] if item["proposal"]["incident_id"] == name]
        invocation.show(incident_panel(incident, decisions, refusals, parts["receipt"], most_lines=MOST_LINES))
    if minor:
        invocation.show(incidents_table(minor, f"{quantity(len(minor), 'incident')} of low severity, in short"))
    invocation.show(closing_line(summary))


def closing_line(summary: dict[str, Any]) -> str:
    """One line that says how much was judged and found."""
    return (
        f"{quantity(summary['flow_count'], 'flow')} of {quantity(summary['device_count'], 'device')} "
        f"judged in {summary['judge_s']:.1f} s ({summary['flows_per_s'] or 0:,} flows/s): "
        f"{quantity(summary['incident_count'], 'incident')}, {quantity(summary['decision_count'], 'act')} planned, "
        f"{summary['refusal_count']:,} refused by policy. Dry run: nothing was changed."
    )
