"""Run a scenario in simulated time and leave the same folder as a real run does.

In: a recipe and a seed. Out: the folder that ``outcome.py`` describes, the same bytes for the same arguments.
Must never: look at a clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from thingwarden.domain.flow import FlowBatch
from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.condition import find_condition
from thingwarden.lab.outcome import Run, write_outcome
from thingwarden.lab.packet_file import PacketFile
from thingwarden.lab.recipe import load_recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.simulated.capture import Meter, packets_from_rows
from thingwarden.lab.simulated.run import Simulation
from thingwarden.lab.timeline import describe
from thingwarden.lab.truth import Timing


def run_simulated(
    recipe_path: Path,
    out: Path,
    *,
    seed: int | None = None,
    duration_s: float | None = None,
    condition: str = "",
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[float, float], None] = lambda *_: None,
) -> Path:
    """Run a recipe without a network; arguments and result are those of ``real.run.run_scenario``.

    Raises:
        ConfigError: the recipe is wrong.
        RequestError: no such condition.
    """
    recipe = load_recipe(recipe_path)
    chosen = find_condition(condition) if condition else None
    schedule = draw_schedule(recipe, seed=seed, duration_s=duration_s, condition=chosen)
    for planned in schedule.planned:
        report(f"{planned.at_s:7.1f} s  {describe(planned)}")
    simulation = Simulation(schedule, live, ACTS)
    meter = Meter(simulation.labels, simulation.began_at_s)
    with tempfile.TemporaryDirectory(prefix="tw-lab-simulated-") as scratch:
        capture = Path(scratch) / "capture.pcap"
        flows: list[FlowBatch] = []
        with capture.open("wb") as sink:
            file = PacketFile(sink, recipe.snap_bytes)
            for rows in simulation.packets(lambda done_s: progress(done_s, schedule.duration_s)):
                file.write(packets_from_rows(rows, simulation.began_at_s))
                flows.append(meter.push(rows))
        flows.append(meter.finish())
        timing = Timing(began_at=datetime.fromtimestamp(simulation.began_at_s, UTC))
        run = Run(recipe=recipe, recipe_path=recipe_path, schedule=schedule, world="simulated", timing=timing)
        return write_outcome(run, capture, out, flows=FlowBatch.concatenate(flows))
