"""Feeds damaged inputs to every reader for a stated time: nothing may crash, hang or read out of bounds.

In: a folder of real captures and logs. Out: how many damaged inputs were read, refused or brought a reader down.
Must never: count a refusal without its reason, or lose the input that brought a reader down.
"""

from __future__ import annotations

import lzma
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from thingwarden.domain.errors import InputError, ThingwardenError
from thingwarden.ingest.compression import open_stream
from thingwarden.ingest.recognise import Format, recognise
from thingwarden.ingest.source import open_source

SEED_BYTES: Final = 32 << 10
"""Of each file's beginning; short inputs are many."""

SLOW_S: Final = 10.0
"""An input of ``SEED_BYTES`` that takes longer is counted as a hang."""

_FOLDERS: Final = ("protocols", "zeek-golden", "formats", "attacks")
_MOST_CHANGES: Final = 24
_INTERESTING: Final = (0, 1, 4, 6, 17, 0x2F, 0x45, 0x60, 0x7F, 0x80, 0xFE, 0xFF)


@dataclass(slots=True)
class Fuzzed:
    """What became of damaged inputs.

    Attributes:
        seconds: spent.
        seeds: files by format.
        read, refused: damaged inputs by format, read to their end and refused with a reason.
        failures: what went wrong with the inputs that brought a reader down, by the file they were kept in.
        slowest_s: the longest that one took.
    """

    seconds: float = 0.0
    seeds: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0


def fuzz(
    folder: Path, kept: Path, *, seconds: float, seed: int, progress: Callable[[int, int], None] | None = None
) -> Fuzzed:
    """Damage inputs and read them until the time is over.

    Args:
        folder: of the public captures.
        kept: where inputs that bring a reader down are written.
        seed: equal seeds damage the same inputs in the same way; how many depends on the time.
        progress: called with the seconds spent and to spend.

    Raises:
        InputError: the folder holds nothing to begin with.
    """
    seeds = list(_seeds(folder))
    if not seeds:
        raise InputError(str(folder), "holds no capture and no log", f"expected some in {', '.join(_FOLDERS)}")
    result = Fuzzed(seeds=Counter(form.value for form, _ in seeds))
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        place, number = Path(scratch) / "damaged", 0
        while (spent_s := time.monotonic() - began_s) < seconds:
            rng = np.random.default_rng((seed, number))
            form, content = seeds[number % len(seeds)]
            _try(form, damage(content, rng), place, kept / f"{form.value}-{seed}-{number}", result)
            number += 1
            if progress is not None:
                progress(int(spent_s), int(seconds))
    result.seconds = time.monotonic() - began_s
    return result


def _seeds(folder: Path) -> Iterator[tuple[Format, bytes]]:
    for name in _FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if not path.is_file():
                continue
            try:
                with open_stream(path) as stream:
                    content = stream.read(SEED_BYTES)
                yield recognise(content, path.name), content
            except (ThingwardenError, lzma.LZMAError):
                continue


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, some slices doubled, moved or cut out, and perhaps the end missing."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, _MOST_CHANGES))):
        if not damaged:
            break
        at = int(rng.integers(len(damaged)))
        until = min(at + int(rng.integers(1, 40)), len(damaged))
        match int(rng.integers(6)):
            case 0 | 1:
                damaged[at] = int(rng.integers(256))
            case 2:
                damaged[at] = int(rng.choice(_INTERESTING))
            case 3:
                damaged[at:at] = damaged[at:until]
            case 4:
                del damaged[at:until]
            case 5:
                damaged[at:until] = rng.bytes(until - at)
    end = len(damaged) if rng.random() < 0.7 else int(rng.integers(len(damaged) + 1))
    return bytes(damaged[:end])


def _try(form: Format, content: bytes, place: Path, kept: Path, result: Fuzzed) -> None:
    place.write_bytes(content)
    began_s = time.monotonic()
    failure = ""
    try:
        for _ in open_source(place, format=form).batches():
            pass
        result.read[form.value] += 1
    except InputError:
        result.refused[form.value] += 1
    except Exception as error:  # whatever else is raised is what is looked for
        failure = f"{type(error).__name__}: {error}"
    spent_s = time.monotonic() - began_s
    result.slowest_s = max(result.slowest_s, spent_s)
    if spent_s > SLOW_S and not failure:
        failure = f"took {spent_s:.0f} s"
    if failure:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        result.failures[kept.name] = failure


def render(result: Fuzzed, seed: int) -> str:
    """The outcome as Markdown."""
    total = result.read.total() + result.refused.total() + len(result.failures)
    lines = [
        "# Damaged inputs",
        "",
        f"Made by `thingwarden bench fuzz --seconds {result.seconds:.0f} --seed {seed}`: real captures and logs, the",
        f"first {SEED_BYTES >> 10} KiB of each, with bytes changed, slices doubled, moved or cut out, and ends missing,"
        " go",
        "through the readers to flows. Whatever is raised but a refusal with a reason is a failure, and so is an input",
        f"that takes more than {SLOW_S:.0f} s.",
        "",
        f"{total:,} damaged inputs in {result.seconds / 60:.0f} minutes: {len(result.failures)} failures; the slowest"
        f" took {result.slowest_s:.2f} s.",
        "",
        "| format | files | read to the end | refused with a reason |",
        "|---|---|---|---|",
    ]
    for form, count in sorted(result.seeds.items()):
        lines.append(f"| {form} | {count} | {result.read[form]:,} | {result.refused[form]:,} |")
    lines += ["", *(f"- `{name}`: {why}" for name, why in sorted(result.failures.items()))]
    return "\n".join(lines).rstrip() + "\n"
