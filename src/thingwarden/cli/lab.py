"""``thingwarden lab``: networks of devices with attacks and ground truth, in namespaces or in simulated time.

In: a scenario. Out: a folder with capture, labelled flows, ground truth and manifest; tables and drawings.
Must never: run an attack outside network namespaces.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.invocation import Invocation, common_options, quantity, table
from thingwarden.cli.lab_corpus import corpus

if TYPE_CHECKING:
    from thingwarden.lab.recipe import Recipe
    from thingwarden.lab.timeline import Schedule
    from thingwarden.lab.truth import Truth

_TRACK_COLUMNS: Final = 60
_SCENARIO: Final = click.argument("scenario")
_SEED: Final = click.option("--seed", type=click.IntRange(min=0), help="Draw from this seed, not the recipe's.")
_DURATION: Final = click.option("--duration-s", type=click.FloatRange(min=5), help="Seconds, instead of the recipe's.")
_CONDITION: Final = click.option("--condition", default="", metavar="NAME", help="Of the network; not the recipe's.")


@click.group("lab")
def lab_group() -> None:
    """Networks of IoT devices with attacks and ground truth."""


lab_group.add_command(corpus)


@lab_group.command("run")
@_SCENARIO
@_SEED
@_CONDITION
@_DURATION
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write into.  [default: one named as the scenario]",
)
@click.option("--simulated", is_flag=True, help="In simulated time: no namespaces, thousands of times faster.")
@common_options
@click.pass_obj
def run(
    invocation: Invocation,
    scenario: str,
    out: Path | None,
    simulated: bool,
    seed: int | None,
    duration_s: float | None,
    condition: str,
) -> None:
    """Run SCENARIO, a packaged one or a recipe's path, and write its capture with the truth about it.

    Attack traffic stays inside namespaces made for it. Without root the lab runs in a user namespace.
    """
    from thingwarden.lab.real.run import run_scenario
    from thingwarden.lab.recipe import find_recipe
    from thingwarden.lab.simulated.record import run_simulated

    recipe = find_recipe(scenario)
    if not simulated:
        _become_root()
    with invocation.progress(scenario, "s") as progress:
        manifest = (run_simulated if simulated else run_scenario)(
            recipe,
            out or Path(recipe.stem),
            seed=seed,
            duration_s=duration_s,
            condition=condition,
            report=invocation.remark,
            progress=lambda done_s, total_s: progress(int(done_s), int(total_s)),
        )
    content = json.loads(manifest.read_text(encoding="utf-8"))
    if invocation.wants_json:
        invocation.emit("lab_run", {"manifest_path": str(manifest), "manifest": content})
    malicious_count = content["malicious_flow_count"]
    invocation.show(
        f"Wrote {manifest}: {quantity(content['flow_count'], 'flow')}, {malicious_count:,} of them of attacks."
    )


@lab_group.command("list")
@common_options
@click.pass_obj
def list_all(invocation: Invocation) -> None:
    """The packaged scenarios."""
    from thingwarden.lab.recipe import list_scenarios

    rows = [_summary(recipe) for recipe in list_scenarios()]
    if invocation.wants_json:
        for row in rows:
            invocation.emit("lab_scenario", row)
    numbers = ("minutes", "devices", "attacks", "harmless")
    cells = [
        (
            row["name"],
            f"{row['duration_s'] / 60:.1f}",
            row["device_count"],
            row["attack_count"],
            row["harmless_count"],
            row["about"],
        )
        for row in rows
    ]
    invocation.show(table("", ("scenario", *numbers, "about"), cells, numeric=numbers))


@lab_group.command("describe")
@_SCENARIO
@_SEED
@_DURATION
@_CONDITION
@common_options
@click.pass_obj
def describe(invocation: Invocation, scenario: str, seed: int | None, duration_s: float | None, condition: str) -> None:
    """What SCENARIO consists of, and what happens when, for a seed; nothing is run."""
    from thingwarden.lab.condition import find_condition
    from thingwarden.lab.recipe import find_recipe, load_recipe
    from thingwarden.lab.schedule import draw_schedule
    from thingwarden.lab.truth import truth_from_schedule

    recipe = load_recipe(find_recipe(scenario))
    chosen = find_condition(condition) if condition else None
    schedule = draw_schedule(recipe, seed=seed, duration_s=duration_s, condition=chosen)
    truth = truth_from_schedule(schedule)
    if invocation.wants_json:
        invocation.emit("lab_truth", asdict(truth))
        return
    invocation.show(
        f"{recipe.name}: {recipe.about}",
        f"seed {schedule.seed}, {schedule.duration_s:g} s from {_clock(schedule.starts_at_hour)}, "
        f"condition {schedule.condition.name}, {'not ' if recipe.exclude_from_training else ''}for training",
        "",
        _devices(schedule),
        "What happens",
        *draw_timeline(truth),
        "",
        _attacks(truth),
    )


@lab_group.command("clean")
@common_options
@click.pass_obj
def clean_up(invocation: Invocation) -> None:
    """Remove what killed labs have left behind; those still running are spared."""
    from thingwarden.lab.real.leftover import clean

    removed = clean()
    if invocation.wants_json:
        invocation.emit("lab_clean", {"removed": removed})
    invocation.show(*(f"Removed {name}." for name in removed) if removed else ("Nothing was left behind.",))


def draw_timeline(truth: Truth) -> Iterator[str]:
    """Lines of plain text: one per event, ``#`` where an attack goes on, ``~`` where something harmless does."""
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for interval in truth.intervals:
        if interval.role == "offender":
            spans.setdefault((interval.name, interval.who), []).append((interval.begins_s, interval.ends_s))
    marks = dict.fromkeys(spans, "#")
    for event in truth.harmless:
        key = event.name, ", ".join(event.who) or "everybody"
        spans.setdefault(key, []).append((event.begins_s, event.ends_s))
        marks.setdefault(key, "~")
    width = max((len(f"{name}  {who}") for name, who in spans), default=0) + 2
    yield " " * width + _ruler(truth.duration_s)
    for (name, who), parts in sorted(spans.items(), key=lambda item: min(item[1])):
        label = f"{name}  {who}".ljust(width)
        yield f"{label}{_track(parts, truth.duration_s, marks[name, who])} {_clock_s(min(parts)[0])}"


def _ruler(duration_s: float) -> str:
    ends = _clock_s(0.0), _clock_s(duration_s / 2), _clock_s(duration_s)
    half = _TRACK_COLUMNS // 2
    return ends[0] + ends[1].rjust(half - len(ends[0]) + len(ends[1]) // 2) + ends[2].rjust(half - len(ends[1]) // 2)


def _track(parts: Iterable[tuple[float, float]], duration_s: float, mark: str) -> str:
    cells = ["."] * _TRACK_COLUMNS
    for begins_s, ends_s in parts:
        first = min(_TRACK_COLUMNS - 1, int(begins_s / duration_s * _TRACK_COLUMNS))
        last = min(_TRACK_COLUMNS - 1, int(ends_s / duration_s * _TRACK_COLUMNS))
        cells[first : last + 1] = mark * (last + 1 - first)
    return "".join(cells)


def _clock_s(moment_s: float) -> str:
    minutes, seconds = divmod(round(moment_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _clock(hour: float) -> str:
    return f"{int(hour):02}:{int(hour % 1 * 60):02}"


def _devices(schedule: Schedule) -> Any:
    from thingwarden.lab.behaviour.catalogue import DEVICES

    rows = [
        (host.name, host.kind, host.address, host.address6, DEVICES[host.kind].about if host.kind in DEVICES else "")
        for host in schedule.hosts
    ]
    return table("Devices", ("name", "kind", "IPv4", "IPv6", "about"), rows)


def _attacks(truth: Truth) -> Any:
    rows = [
        (interval.name, interval.role, interval.who, interval.peer or "-", interval.attack_class, interval.technique)
        for interval in truth.intervals
    ]
    return table("Truth", ("attack", "role", "who", "against", "class", "ATT&CK"), dict.fromkeys(rows))


def _summary(recipe: Recipe) -> dict[str, Any]:
    from thingwarden.lab.schedule import draw_schedule
    from thingwarden.lab.truth import truth_from_schedule

    truth = truth_from_schedule(draw_schedule(recipe))
    return {
        "name": recipe.name,
        "about": recipe.about,
        "duration_s": recipe.duration_s,
        "device_count": len(recipe.devices),
        "attack_count": len({interval.name for interval in truth.intervals}),
        "harmless_count": len({event.name for event in truth.harmless}),
        "is_for_training": not recipe.exclude_from_training,
    }


def _become_root() -> None:
    from thingwarden.lab.real.rootless import is_rootless_needed, reexecute

    if is_rootless_needed():
        raise SystemExit(reexecute([sys.executable, "-m", "thingwarden", *sys.argv[1:]]))
