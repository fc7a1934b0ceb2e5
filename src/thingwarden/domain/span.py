"""A span of time in plain words.

In: seconds. Out: text in English.
Must never: say a unit of which there is less than one, while a smaller one is left.
"""

from __future__ import annotations


def format_span(seconds: float, digits: int = 3) -> str:
    """A span in the largest unit that leaves a number of at least one, with so many digits that count."""
    for unit, unit_s in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= unit_s:
            return f"{_rounded(seconds / unit_s, digits)} {unit}"
    return f"{_rounded(seconds * 1000, digits)} ms"


def _rounded(number: float, digits: int) -> str:
    return f"{float(f'{number:.{digits}g}'):g}"
