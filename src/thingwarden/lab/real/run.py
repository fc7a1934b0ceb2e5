"""Run a scenario for real: build its network, let its devices live, carry out its timeline, capture, write the outcome.

In: a recipe and a seed. Out: the folder that ``outcome.py`` describes.
Must never: leave a process or a namespace behind, however it ends, or write a truth about an act that did not run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.behaviour.attacks.hostile import expected_ports
from thingwarden.lab.condition import find_condition
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.outcome import Run, write_outcome
from thingwarden.lab.prefix import LAN, LAN6, UPLINK, UPLINK6
from thingwarden.lab.real.daemons import LanCapture, Resolver, make_certificate, start_broker, tool_versions
from thingwarden.lab.real.layout import INTERNET_NAME
from thingwarden.lab.real.leftover import clean
from thingwarden.lab.real.link import apply_condition
from thingwarden.lab.real.network import Lab, require_tools
from thingwarden.lab.real.nursery import Nursery, open_nursery
from thingwarden.lab.real.program import Ending, Program
from thingwarden.lab.recipe import Recipe, load_recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.timeline import Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore, Schedule, describe
from thingwarden.lab.traits import Traits
from thingwarden.lab.truth import Timing
from thingwarden.lab.world import Identity

_SERVERS_START_S: Final = 1.0
_LONGEST_WAIT_S: Final = 0.5
_KILLED: Final = -9
STRANGER: Final = SERVICES["stranger.invalid"]
"""Who on the internet does what a schedule lets ``internet`` do."""

Report = Callable[[str], None]
Progress = Callable[[float, float], None]
Beside = Callable[[Lab], AbstractContextManager[object]]


def run_scenario(
    recipe_path: Path,
    out: Path,
    *,
    seed: int | None = None,
    duration_s: float | None = None,
    condition: str = "",
    report: Report = lambda _: None,
    progress: Progress = lambda *_: None,
    beside: Beside = lambda lab: nullcontext(),
) -> Path:
    """Run a recipe in namespaces of its own, in real time.

    Args:
        recipe_path: TOML file.
        out: folder to write into; made where missing, its files of the same names replaced.
        seed: draws the schedule and every device's jitter; the recipe's own by default.
        duration_s: seconds of capture; the recipe's own by default. Moments scale with it.
        condition: of the network; the recipe's own by default.
        report: told one line per thing that happens.
        progress: told how many seconds have passed, and of how many.
        beside: entered when the network stands and before its devices live, left when they are over.

    Returns:
        the manifest's path.

    Raises:
        ConfigError: programs or rights are missing, a recipe is wrong, or an act failed.
        RequestError: no such condition.
    """
    recipe = load_recipe(recipe_path)
    chosen = find_condition(condition) if condition else None
    schedule = draw_schedule(recipe, seed=seed, duration_s=duration_s, condition=chosen)
    require_tools()
    clean()
    with Lab(schedule.hosts) as lab, open_nursery(lab.scratch / "programs.log") as nursery:
        links = apply_condition(lab, schedule.condition, seed=schedule.seed)
        play = _Play(recipe, schedule, lab, nursery, report, progress)
        play.prepare()
        with beside(lab):
            play.live()
        dropped_count = play.end()
        emulated = links.finish()
        run = Run(
            recipe=recipe,
            recipe_path=recipe_path,
            schedule=schedule,
            world="real",
            timing=play.timing(),
            dropped_count=dropped_count,
            links={"means": links.means, **emulated},
            failures=play.failures,
            tools=tool_versions(),
        )
        return write_outcome(run, play.capture.path, out)


class _Play:
    """One run: its lab, its timeline, and when each action really took place."""

    def __init__(
        self, recipe: Recipe, schedule: Schedule, lab: Lab, nursery: Nursery, report: Report, progress: Progress
    ) -> None:
        self.failures: list[str] = []
        self.capture: LanCapture
        self._recipe = recipe
        self._schedule = schedule
        self._lab = lab
        self._nursery = nursery
        self._report = report
        self._progress = progress
        self._resolver = Resolver(lab, schedule.hosts)
        self._hosts = {host.name: host for host in schedule.hosts}
        self._addresses = {host.name: host.address for host in schedule.hosts}
        self._off = {host.name for host in schedule.hosts if host.joins}
        self._certificate, self._key = Path(), Path()
        self._began_at_s = 0.0
        self._spans: dict[int, tuple[float, float]] = {}
        self._numbers = itertools.count()
        self._lives: dict[int, str] = {}
        self._acts: dict[int, tuple[int, float]] = {}

    def prepare(self) -> None:
        """Start what must answer before the first device asks, and the capture."""
        self._certificate, self._key = make_certificate(self._lab.scratch, self._schedule.hosts)
        self._resolver.start()
        for family, prefix, source in (("-4", LAN, STRANGER.address), ("-6", LAN6, STRANGER.address6)):
            route = self._lab.run(INTERNET_NAME, ["ip", family, "route", "show", str(prefix)]).split()
            self._lab.run(INTERNET_NAME, ["ip", family, "route", "replace", *route, "src", source])
        self._began_at_s = time.time() + _SERVERS_START_S
        self._start_life(self._internet(), INTERNET_NAME)
        for host in self._schedule.hosts:
            if host.kind == "hub" and host.name not in self._off:
                start_broker(self._lab, host.name, self._certificate, self._key)
        time.sleep(max(0.0, self._began_at_s - time.time()))
        self.capture = LanCapture(self._lab, self._recipe.snap_bytes)

    def live(self) -> None:
        """Start the devices and carry out the timeline to its end.

        Raises:
            ConfigError: an act failed.
        """
        present = [host for host in self._schedule.hosts if host.name not in self._off]
        self._report(f"{len(present)} devices live for {self._schedule.duration_s:g} s ({self._condition()})")
        for host in present:
            self._start_life(self._identity(host), host.name)
        for index, planned in enumerate(self._schedule.planned):
            self._wait_until(min(planned.at_s, self._schedule.duration_s))
            self._carry_out(index, planned)
        self._wait_until(self._schedule.duration_s)

    def end(self) -> int:
        """Stop capturing and note what went wrong; how many packets the capture missed."""
        for index, began_s in self._acts.values():
            self._spans[index] = (began_s, self._now_s())
        dropped_count = self.capture.stop()
        for log in sorted(self._lab.scratch.glob("program-*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in (line for line in lines if line.endswith(" failed")):
                self._fail(line)
        return dropped_count

    def timing(self) -> Timing:
        """When it began, and what was measured."""
        spans = {index: (round(begin_s, 6), round(end_s, 6)) for index, (begin_s, end_s) in self._spans.items()}
        began_at = datetime.fromtimestamp(round(self._began_at_s, 6), UTC)
        return Timing(began_at=began_at, spans=dict(sorted(spans.items())))

    def _fail(self, what: str) -> None:
        self.failures.append(what)
        self._report(f"went wrong: {what}")

    def _condition(self) -> str:
        return f"seed {self._schedule.seed}, condition {self._schedule.condition.name}"

    def _now_s(self) -> float:
        return time.time() - self._began_at_s

    def _wait_until(self, moment_s: float) -> None:
        while (left_s := moment_s - self._now_s()) > 0:
            for ending in self._nursery.endings(min(left_s, _LONGEST_WAIT_S)):
                self._note(ending)
            self._progress(self._now_s(), self._schedule.duration_s)

    def _carry_out(self, index: int, planned: Planned) -> None:
        began_s = self._now_s()
        self._report(f"{began_s:7.1f} s  {describe(planned)}")
        match planned.action:
            case Perform() as act:
                self._perform(index, planned, act)
                return
            case Cut(target=target, mode=mode):
                self._lab.cut(target, mode)
            case Restore(target=target):
                self._lab.restore(target)
            case PowerOff(host=name):
                self._off.add(name)
                self._lab.power_off(name)
            case PowerOn(host=name, address=address):
                self._power_on(name, address)
        self._spans[index] = (began_s, self._now_s())

    def _perform(self, index: int, planned: Planned, act: Perform) -> None:
        if act.host in self._off:
            self._report(f"           {act.host} is off: nothing happens")
            return
        me = self._stranger() if act.host == INTERNET_NAME else self._identity(self._hosts[act.host])
        number = next(self._numbers)
        self._acts[number] = (index, self._now_s())
        program = self._program(number, me, act.host, f"{planned.event}-{index}")
        task = f"{planned.event} {planned.at_s:.3f}"
        settings = {"lasts_s": act.lasts_s, **act.settings}
        self._nursery.start(replace(program, act=act.act, task=task, settings=settings))

    def _power_on(self, name: str, address: str) -> None:
        host = self._hosts[name]
        if address:
            self._addresses[name] = address
            self._resolver.move(name, address)
        self._lab.power_on(name, self._addresses[name])
        self._off.discard(name)
        if host.kind == "hub":
            start_broker(self._lab, name, self._certificate, self._key)
        self._start_life(self._identity(host, is_booting=True), name)

    def _start_life(self, me: Identity, name: str) -> None:
        number = next(self._numbers)
        self._lives[number] = name
        self._nursery.start(self._program(number, me, name, name))

    def _program(self, number: int, me: Identity, host: str, log: str) -> Program:
        return Program(
            number=number,
            namespace=self._lab.namespace(host),
            log=self._lab.scratch / f"program-{log}.log",
            me=me,
            seed=str(self._schedule.seed),
            began_at_s=self._began_at_s,
            starts_at_hour=self._schedule.starts_at_hour,
            scratch=self._lab.scratch,
            certificate=self._certificate,
            key=self._key,
        )

    def _identity(self, host: Host, *, is_booting: bool = False) -> Identity:
        return Identity(
            name=host.name,
            kind=host.kind,
            mac=host.mac,
            address=self._addresses[host.name],
            address6=host.address6,
            pace=host.pace,
            traits=host.traits,
            peers={name: address for name, address in self._addresses.items() if name != host.name},
            kinds={other.name: other.kind for other in self._schedule.hosts},
            peer_traits={other.name: other.traits for other in self._schedule.hosts},
            is_booting=is_booting,
        )

    def _internet(self) -> Identity:
        return self._outsider(INTERNET_NAME, str(UPLINK[1]), str(UPLINK6[1]))

    def _stranger(self) -> Identity:
        return self._outsider(STRANGER.name, STRANGER.address, STRANGER.address6)

    def _outsider(self, name: str, address: str, address6: str) -> Identity:
        return Identity(
            name=name,
            kind=INTERNET_NAME,
            mac="",
            address=address,
            address6=address6,
            pace=1.0,
            traits=Traits(seed=f"{self._schedule.seed}:{name}"),
            peers=dict(self._addresses),
            kinds={host.name: host.kind for host in self._schedule.hosts},
            peer_traits={host.name: host.traits for host in self._schedule.hosts},
            expects=expected_ports(self._schedule.planned),
        )

    def _note(self, ending: Ending) -> None:
        if ending.number in self._lives:
            name = self._lives.pop(ending.number)
            if name not in self._off:
                self._fail(f"{name}: ended with status {ending.status}: {self._last_words(name)}")
            return
        index, _ = self._acts.pop(ending.number)
        self._spans[index] = (ending.began_at_s - self._began_at_s, ending.ended_at_s - self._began_at_s)
        planned = self._schedule.planned[index]
        if ending.status not in (0, _KILLED):
            raise ConfigError(f"lab act {planned.event}", self._last_words(f"{planned.event}-{index}"))

    def _last_words(self, log: str) -> str:
        path = self._lab.scratch / f"program-{log}.log"
        said = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
        return said.splitlines()[-1] if said else "it said nothing"
