"""What judging a capture costs: processor time and peak memory of a whole process, for each contestant alike.

In: captures, sets of rules, a model's folder. Out: medians, with every run listed.
Must never: let the measuring process' own memory count.
"""

from __future__ import annotations

import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from thingwarden.bench import suricata
from thingwarden.bench.signatures import PRODUCT
from thingwarden.bench.suricata import ProcessCost
from thingwarden.domain.errors import RequestError

REPEATS: Final = 3
START_ONLY: Final = "nothing (start and stop)"

_KIBIBYTE: Final = 1024
_ETHERNET: Final = 1
_WATCHER: Final = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.stderr.write(ended.stderr.decode(errors="replace")[-400:])
sys.exit(ended.returncode)
"""
"""A parent without memory of its own: a child's peak begins with what its parent held when it was forked."""


def measure_costs(
    captures: Mapping[str, Path],
    rule_folders: Sequence[Path],
    model: Path,
    *,
    repeats: int = REPEATS,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, dict[str, Any]]:
    """Run each contestant on each capture, and on one ARP packet, which shows what its start alone costs.

    Args:
        captures: by name.
        rule_folders: for Suricata; none leaves it out.
        model: folder of the artifact.
        repeats: runs of each; the median is reported.
        progress: told how many runs are done, and of how many.

    Returns:
        By contestant and capture: ``cpu_s`` and ``peak_bytes``, and ``runs`` with both of every run.

    Raises:
        InputError: a capture or a set of rules is broken.
        RequestError: a command failed.
    """
    total = (1 + len(rule_folders)) * (1 + len(captures)) * repeats
    done = 0
    with tempfile.TemporaryDirectory(prefix="tw-cost-") as name:
        folder = Path(name)
        plain = {START_ONLY: write_one_packet(folder / "one.pcap")}
        for number, (title, path) in enumerate(captures.items()):
            plain[title] = suricata.unpack_file(path, folder / f"{number}.pcap")
        commands = _commands(rule_folders, model, folder)
        found: dict[str, dict[str, Any]] = {contestant: {} for contestant in commands}
        for contestant, command in commands.items():
            for title, path in plain.items():
                runs = []
                for _ in range(repeats):
                    runs.append(measure_command(command(path)))
                    done += 1
                    progress(done, total)
                found[contestant][title] = _summarise(runs)
    return found


def _commands(rule_folders: Sequence[Path], model: Path, folder: Path) -> dict[str, Callable[[Path], list[str]]]:
    replay = [sys.executable, "-m", "thingwarden", "replay", "--model", str(model), "--no-journal", "--json"]
    commands: dict[str, Callable[[Path], list[str]]] = {PRODUCT: lambda path: [*replay, str(path)]}
    for source in rule_folders:
        rules = suricata.unpack_rules(source, folder / f"rules-{source.name}")
        log = folder / f"log-{source.name}"
        log.mkdir()
        options = suricata.rule_options(rules, log)
        commands[rules.title] = lambda path, options=options: [*options, "-r", str(path)]  # type: ignore[misc]
    return commands


def measure_command(command: Sequence[str]) -> ProcessCost:
    """Processor time and peak resident memory of a command and its children.

    Raises:
        RequestError: it failed.
    """
    done = subprocess.run(  # noqa: S603 built above, from paths
        [sys.executable, "-c", _WATCHER, *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RequestError(" ".join(command[:4]), f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    cpu_s, peak_kib = done.stdout.split()
    return ProcessCost(cpu_s=float(cpu_s), peak_bytes=int(peak_kib) * _KIBIBYTE)


def _summarise(runs: Sequence[ProcessCost]) -> dict[str, Any]:
    return {
        "cpu_s": statistics.median(run.cpu_s for run in runs),
        "peak_bytes": statistics.median(run.peak_bytes for run in runs),
        "runs": [[run.cpu_s, run.peak_bytes] for run in runs],
    }


def write_one_packet(path: Path) -> Path:
    """A capture that holds one ARP request and no flow; its path."""
    frame = bytes.fromhex("ffffffffffff02000000000a0806000108000604000102000000000ac0a8010a000000000000c0a80101")
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, _ETHERNET)
    path.write_bytes(head + struct.pack("<IIII", 1_700_000_000, 0, len(frame), len(frame)) + frame)
    return path
