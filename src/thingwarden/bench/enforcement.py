"""What acts cost at the firewall: time through the enforcer's own process, memory of ten thousand in force.

In: how many. Out: ``Enforcement``, measured in a network namespace that ends with the measurement.
Must never: touch the machine's own firewall.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from thingwarden.domain.errors import ConfigError

GOAL_BYTES: Final = 30_000_000
"""More memory that ten thousand decisions may take."""

_WITHIN_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """What was measured.

    Attributes:
        apply_us: from the order to its receipt, through the socket, by act: ``p50``, ``p99`` microseconds.
        first_us: the same for the first act of each kind, which makes sets and rules by the firewall's program.
        held_count: decisions in force when memory was read.
        process_bytes, kernel_bytes: by which the process and the kernel's slabs had grown by then.
        in_force_ms: asking for all of them, once.
        revoke_us: undoing one of them, ``p50`` and ``p99``.
        release_ms: undoing all of them at once.
    """

    apply_us: dict[str, dict[str, float]]
    first_us: dict[str, float]
    held_count: int
    process_bytes: int
    kernel_bytes: int
    in_force_ms: float
    revoke_us: dict[str, float]
    release_ms: float


def measure(held_count: int, each_count: int) -> Enforcement:
    """Measure in a namespace of its own.

    Args:
        held_count: decisions held at once, 1 to 60,000.
        each_count: decisions of each act that are timed.

    Raises:
        ConfigError: there may be no namespace here, or the firewall cannot be used.
    """
    argv = ["unshare", "--net", sys.executable, "-m", "thingwarden.bench.enforcement_program"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [*argv, str(held_count), str(each_count)], capture_output=True, text=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError("the measurement", str(error), "it needs root and util-linux") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ConfigError("the measurement", said, "it needs root and nftables")
    return Enforcement(**json.loads(done.stdout))


def render_report(found: Enforcement, machine: str) -> str:
    """The report, as Markdown."""
    rows = [
        f"| `{act}` | {spans['p50']:.0f} | {spans['p99']:.0f} | {found.first_us[act] / 1000:.1f} |"
        for act, spans in found.apply_us.items()
    ]
    grown = found.process_bytes + found.kernel_bytes
    verdict = "met" if grown < GOAL_BYTES else "missed"
    return "\n".join(
        [
            "# Enforcement",
            "",
            "<!-- Made by `thingwarden bench enforcement`; do not edit. -->",
            "",
            f"The firewall's enforcer as it really runs, a process of its own behind its socket, on {machine}, in a "
            "network namespace made for it.",
            "",
            "## Time of an act",
            "",
            "From the sealed order to the receipt: socket, guard, file of what is held, kernel. The first of a shape "
            "makes its sets and rules by the firewall's program; all others are elements by raw netlink.",
            "",
            "| act | p50 us | p99 us | first, ms |",
            "|---|---|---|---|",
            *rows,
            "",
            f"## {found.held_count:,} decisions in force",
            "",
            f"Goal: less than {GOAL_BYTES / 1e6:.0f} MB more memory: {verdict}.",
            "",
            "| | |",
            "|---|---|",
            f"| the process grew by | {found.process_bytes / 1e6:.1f} MB |",
            f"| the kernel's slabs grew by | {found.kernel_bytes / 1e6:.1f} MB |",
            f"| asking what is in force | {found.in_force_ms:.0f} ms |",
            f"| undoing one | p50 {found.revoke_us['p50']:.0f} us, p99 {found.revoke_us['p99']:.0f} us |",
            f"| undoing all at once | {found.release_ms:.0f} ms |",
            "",
        ]
    )


def as_values(found: Enforcement) -> dict[str, Any]:
    """As plain values, with the goal."""
    values = {name: getattr(found, name) for name in Enforcement.__slots__}
    return {**values, "goal_bytes": GOAL_BYTES}
