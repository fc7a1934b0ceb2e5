"""Bring a network condition about: by the kernel's netem where it has it, else by the emulator of ``relay.py``.

In: a lab and a condition. Out: what carries it, and at the end what it dropped.
Must never: touch a link that the condition leaves plain, or change a lab's condition twice.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Final, Literal

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.real.network import Lab
from thingwarden.lab.real.relay import QUEUE_LIMIT_COUNT, READY, LinkEnds, to_json

Means = Literal["none", "netem", "relay"]

_UNLIMITED_MBPS: Final = 10_000.0
_START_LIMIT_S: Final = 10.0
_POLL_S: Final = 0.02


@dataclass(slots=True)
class AppliedCondition:
    """A condition in force.

    Attributes:
        means: what carries it.
    """

    means: Means
    _lab: Lab
    _process: Popen[bytes] | None = None
    _log: Path = Path()

    def finish(self) -> dict[str, dict[str, int]]:
        """End the emulator and tell, by direction, what it passed and dropped; empty where there was none.

        Afterwards nothing passes those links any more.

        Raises:
            ConfigError: the emulator had died.
        """
        if self._process is None:
            return {}
        self._lab.stop(self._process)
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        if self._process.returncode != 0:
            raise ConfigError("link emulator", said or f"exit status {self._process.returncode}")
        counts: dict[str, dict[str, int]] = json.loads(said.splitlines()[-1])
        return counts


def apply_condition(lab: Lab, condition: Condition, *, seed: int = 0, means: Means | None = None) -> AppliedCondition:
    """Make a lab's links behave as ``condition`` says, before anything runs in it.

    Args:
        lab: entered, and without a condition so far.
        condition: its uplink and wireless links; plain ones are left alone.
        seed: of the emulator's chances; netem draws its own.
        means: of carrying it; by default netem where this kernel has it.

    Raises:
        ConfigError: the emulator did not start.
        RequestError: the lab has a condition already.
    """
    links = {lab.INTERNET: condition.uplink, **dict.fromkeys(lab.host_names, condition.wireless)}
    shaped = {name: link for name, link in links.items() if not link.is_plain}
    if not shaped:
        return AppliedCondition("none", lab)
    if means == "netem" or (means is None and has_netem(lab)):
        for name, link in shaped.items():
            for where, interface in ((name, "eth0"), (lab.GATEWAY, lab.interface(name))):
                lab.run(where, ["tc", "qdisc", "add", "dev", interface, "root", *netem_arguments(link)])
        return AppliedCondition("netem", lab)
    return _relayed(lab, shaped, seed)


def has_netem(lab: Lab) -> bool:
    """Whether this kernel can delay packets by itself."""
    try:
        lab.run(lab.GATEWAY, ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    except ConfigError:
        return False
    lab.run(lab.GATEWAY, ["tc", "qdisc", "del", "dev", "lo", "root"])
    return True


def netem_arguments(link: Link) -> list[str]:
    """How netem is told what a link does.

    A rate is always given: with one, netem sends packets in order in spite of jitter.
    """
    arguments = ["netem", "limit", str(QUEUE_LIMIT_COUNT)]
    if link.delay_ms or link.jitter_ms:
        arguments += ["delay", f"{link.delay_ms}ms", f"{link.jitter_ms}ms"]
    if link.loss_ratio:
        arguments += ["loss", f"{link.loss_ratio * 100}%"]
    if link.reorder_ratio:
        arguments += ["reorder", f"{link.reorder_ratio * 100}%"]
    return [*arguments, "rate", f"{link.rate_mbps or _UNLIMITED_MBPS}mbit"]


def _relayed(lab: Lab, shaped: dict[str, Link], seed: int) -> AppliedCondition:
    ends = []
    for name, link in shaped.items():
        far, near = lab.detour(name)
        ends.append(LinkEnds(name=name, far=far, near=near, link=link))
    log = lab.scratch / "relay.log"
    process = lab.spawn("air", [sys.executable, "-m", "thingwarden.lab.real.relay", to_json(ends, str(seed))], log=log)
    deadline_s = time.monotonic() + _START_LIMIT_S
    while READY not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise ConfigError("link emulator", log.read_text(encoding="utf-8", errors="replace").strip() or "no answer")
        time.sleep(_POLL_S)
    lab.settle()
    return AppliedCondition("relay", lab, process, log)
