"""A defence at work: a lab scenario for real, watch and firewall on its gateway, packets counted at all ends.

In: a scenario, a seed, who proposes. Out: a folder with truth, timing, what the watch said, a capture of each host.
Must never: let the measured packets pass any other way than by the kernel that is being told what to cut.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from thingwarden.enforce.key import make_key
from thingwarden.lab.real.capture import READY, capture_arguments
from thingwarden.lab.real.daemons import start_daemon
from thingwarden.lab.real.layout import LAN_BRIDGE
from thingwarden.lab.real.network import Lab
from thingwarden.lab.real.run import Progress, run_scenario

NONE, ISOLATION, PLAYBOOK, PLANNER = "none", "isolate everything", "playbook", "planner"
DEFENCES: Final = (NONE, ISOLATION, PLAYBOOK, PLANNER)

SAID_FILE: Final = "watch.jsonl"
TRIAL_FILE: Final = "trial.json"
"""Written last: what was run to its end."""

_SNAP_BYTES: Final = 128
READY_WITHIN_S: Final = 40.0
"""A dozen captures, an enforcer and a watch start on two cores."""

_ISOLATING_PLAYBOOK: Final = """version = 1
[[rule]]
class = "*"
role = "offender"
act = "isolate"
scope = "device"
ttl_s = 1800
reason = "Isolate everything that attacks."
"""

_POLICY: Final = """[orders]
automatic_up_to = "{limit}"
max_devices_count = 1000
max_devices_ratio = 1.0
max_blocked_peers_count = 1000
max_decisions_per_minute = 1000
max_changes_per_device_hour = 1000
"""
"""Most devices of these scenarios are infected at once; the bounds for a usual day would hide what the acts do."""

_SETTINGS: Final = """[policy]
file = "{folder}/policy.toml"
proposer = "{proposer}"
{playbook}
[enforce]
kinds = ["nftables"]
reach = "bridge"
run_folder = "{folder}"
state_folder = "{folder}/enforcers"
key = "{folder}/key"
max_devices_count = 1000
max_peers_count = 1000
max_decisions_per_minute = 1000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of one scenario.

    Attributes:
        scenario: path of the recipe.
        seed: of the schedule; equal seeds plan the same attacks at the same moments.
        duration_s: of the run.
        defence: one of ``DEFENCES``.
    """

    scenario: Path
    seed: int
    duration_s: float
    defence: str


def trial_folder(kept: Path, trial: Trial) -> Path:
    """Where a trial is kept."""
    return kept / f"{trial.scenario.stem}-{trial.seed}-{trial.defence.replace(' ', '-')}"


def capture_path(folder: Path, host: str) -> Path:
    """Where the packets that a host sent and received are kept."""
    return folder / f"at-{host}.pcap"


def run_trial(trial: Trial, folder: Path, progress: Progress = lambda *_: None) -> Path:
    """Run one trial, unless the folder holds it already; its folder.

    Args:
        trial: what is run.
        folder: to write into; another trial's files there are replaced.
        progress: told how many seconds have passed, and of how many.

    Raises:
        ConfigError: the lab cannot be made here, or a part of the defence does not start.
    """
    told = {**asdict(trial), "scenario": trial.scenario.stem}
    if _is_done(folder, told):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    @contextmanager
    def beside(lab: Lab) -> Iterator[None]:
        with _measured(lab, folder), _defended(lab, trial.defence, folder):
            yield

    run_scenario(
        trial.scenario,
        folder,
        seed=trial.seed,
        duration_s=trial.duration_s,
        condition="wired",
        progress=progress,
        beside=beside,
    )
    (folder / TRIAL_FILE).write_text(json.dumps(told) + "\n", encoding="utf-8")
    return folder


def _is_done(folder: Path, told: dict[str, object]) -> bool:
    try:
        return bool(json.loads((folder / TRIAL_FILE).read_text(encoding="utf-8")) == told)
    except (OSError, ValueError):
        return False


@contextmanager
def _measured(lab: Lab, folder: Path) -> Iterator[None]:
    """A capture at every host and at the internet: what was sent, and what arrived."""
    captures = []
    for name in (*lab.host_names, Lab.INTERNET):
        argv = capture_arguments("eth0", capture_path(lab.scratch, name), _SNAP_BYTES)
        captures.append(
            start_daemon(lab, name, argv, READY, log=lab.scratch / f"at-{name}.log", within_s=READY_WITHIN_S)
        )
    yield
    for process in captures:
        lab.stop(process)
    for path in lab.scratch.glob("at-*.pcap"):
        shutil.copyfile(path, folder / path.name)


@contextmanager
def _defended(lab: Lab, defence: str, folder: Path) -> Iterator[None]:
    if defence == NONE:
        (folder / SAID_FILE).write_text("", encoding="utf-8")
        yield
        return
    settings, said = write_settings(lab.scratch, defence), lab.scratch / SAID_FILE
    program = (sys.executable, "-m", "thingwarden")
    argv = [*program, "enforcer", "nftables", "--config", str(settings)]
    enforcer = start_daemon(
        lab, Lab.GATEWAY, argv, "listens", log=lab.scratch / "enforcer.log", within_s=READY_WITHIN_S
    )
    argv = [*program, "watch", "-i", LAN_BRIDGE, "--enforce", "socket", "--json", "--no-journal"]
    watch = start_daemon(
        lab, Lab.GATEWAY, [*argv, "--config", str(settings)], "watching", log=said, within_s=READY_WITHIN_S
    )
    yield
    lab.stop(watch)
    lab.stop(enforcer)
    shutil.copyfile(said, folder / SAID_FILE)


def write_settings(folder: Path, defence: str) -> Path:
    """The configuration of a defence's programs, with policy and key, in a folder of the lab."""
    make_key(folder / "key")
    is_isolating = defence == ISOLATION
    (folder / "policy.toml").write_text(
        _POLICY.format(limit="isolate" if is_isolating else "quarantine"), encoding="utf-8"
    )
    (folder / "playbook.toml").write_text(_ISOLATING_PLAYBOOK, encoding="utf-8")
    playbook = f'playbook = "{folder}/playbook.toml"\n' if is_isolating else ""
    proposer = "planner" if defence == PLANNER else "playbook"
    path = folder / "settings.toml"
    path.write_text(_SETTINGS.format(folder=folder, proposer=proposer, playbook=playbook), encoding="utf-8")
    return path
