"""How far a model's numbers can be trusted: the constants that turn its scores into verdicts and alarms.

In: values that ``detect.calibrate`` chose on held-out data, or the JSON in which they ship. Out: ``Calibration``.
Must never: be edited by hand; it belongs to one model and ships in that model's artifact.
Sources: C. Guo and others, "On Calibration of Modern Neural Networks", 2017 (temperature);
E. S. Page, "Continuous Inspection Schemes", 1954 (the sequential statistic); H. Robbins, "An Empirical Bayes Approach
to Statistics", 1956 (shrinkage).
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from thingwarden.domain.errors import ArtifactError

CALIBRATION_VERSION: Final = 3
"""Raised whenever the meaning of a field changes; another version is refused."""

TAIL_SHARES: Final = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Shares of harmless flows; ``surprise_nats`` and ``loudness_nats`` say what so many of them exceed."""

TAIL_NATS: Final = tuple(-math.log(share) for share in TAIL_SHARES)
"""How rare it is to be in each of these tails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Constants of one model, chosen on data that it was not trained on.

    Attributes:
        temperature: above 0; class probabilities are raised to 1/temperature and normalised.
        flow_threshold: in (0, 1); a flow without any history is called malicious when its probability is above it.
        evidence_nats: log-odds above which a closing word speaks against its device.
        open_evidence_nats: the same of openings and probes, which know no outcome and err more.
        evidence_cap_nats: above 0; the most that the class of one word can add to a device's alarm statistic.
        open_weight: in [0, 1]; share of its evidence above a level of its own that an opening word counts.
        drift_nats: at least 0; what each word of the device takes off the statistic again.
        alarm_level_nats: above 0; an incident opens when the statistic reaches it.
        strange_alarm_nats: above 0; the same for what strangeness has added up to.
        surprise_nats: ascending, one per entry of ``TAIL_SHARES``: how much so many harmless flows surprise.
        loudness_nats: the same of the log-odds that harmless flows' closing words are malicious.
        shrinkage_words: above 0; flows of its own after which a device's shares weigh as much as the fleet's.
        rarity_weight: in [0, 1]; how much rarity counts beside loudness in a flow's strangeness.
        strange_nats: above 0; strangeness that speaks neither for nor against a device: more adds to its statistic by
            the difference, less takes off.
        strange_cap_nats: above 0; the most that loudness, or rarity, can make of a flow's strangeness.
        version: ``CALIBRATION_VERSION``.
    """

    temperature: float = 1.0
    flow_threshold: float = 0.9
    evidence_nats: float = 2.0
    open_evidence_nats: float = 2.0
    evidence_cap_nats: float = 6.0
    open_weight: float = 1.0
    drift_nats: float = 0.05
    alarm_level_nats: float = 16.0
    strange_alarm_nats: float = 60.0
    surprise_nats: tuple[float, ...] = TAIL_NATS
    loudness_nats: tuple[float, ...] = TAIL_NATS
    shrinkage_words: float = 1e9
    rarity_weight: float = 0.5
    strange_nats: float = 3.2
    strange_cap_nats: float = 5.0
    version: int = CALIBRATION_VERSION

    def __post_init__(self) -> None:
        if self.version != CALIBRATION_VERSION:
            raise _refuse("version", self.version, f"expected {CALIBRATION_VERSION}")
        for name in _EDGES:
            edges = getattr(self, name)
            is_number = [_is_within(edge, -_UNBOUNDED, _UNBOUNDED, True) for edge in edges]
            if len(edges) != len(TAIL_SHARES) or not all(is_number):
                raise _refuse(name, edges, f"expected {len(TAIL_SHARES)} numbers")
            if any(later < earlier for earlier, later in itertools.pairwise(edges)):
                raise _refuse(name, edges, "expected ascending numbers")
        for name, (low, high, is_open) in _RANGES.items():
            value = getattr(self, name)
            if not _is_within(value, low, high, is_open):
                raise _refuse(name, value, f"expected a number in {'(' if is_open else '['}{low}, {high})")

    def to_json(self) -> str:
        """The calibration as one JSON object, keys sorted, ending in a newline."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ArtifactError: not JSON, a key missing or unknown, a value of the wrong type or out of range.
        """
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise _refuse("file", "not JSON", str(error)) from error
        if not isinstance(values, dict):
            raise _refuse("file", type(values).__name__, "expected a JSON object")
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise _refuse("keys", sorted(set(values) ^ names), "missing or unknown")
        for name in _EDGES:
            if not isinstance(values[name], list):
                raise _refuse(name, values[name], "expected a list")
            values[name] = tuple(values[name])
        return cls(**values)


_EDGES: Final = ("surprise_nats", "loudness_nats")

_UNBOUNDED: Final = math.inf
_RANGES: Final[dict[str, tuple[float, float, bool]]] = {
    "temperature": (0.0, _UNBOUNDED, True),
    "flow_threshold": (0.0, 1.0, True),
    "evidence_nats": (-_UNBOUNDED, _UNBOUNDED, True),
    "open_evidence_nats": (-_UNBOUNDED, _UNBOUNDED, True),
    "evidence_cap_nats": (0.0, _UNBOUNDED, True),
    "open_weight": (0.0, 1.0000001, False),
    "drift_nats": (0.0, _UNBOUNDED, False),
    "alarm_level_nats": (0.0, _UNBOUNDED, True),
    "strange_alarm_nats": (0.0, _UNBOUNDED, True),
    "shrinkage_words": (0.0, _UNBOUNDED, True),
    "rarity_weight": (0.0, 1.0000001, False),
    "strange_nats": (0.0, _UNBOUNDED, True),
    "strange_cap_nats": (0.0, _UNBOUNDED, True),
}
"""Lowest, highest (excluded), and whether the lowest is excluded too."""


def _is_within(value: object, low: float, high: float, is_open: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value < high and (value > low if is_open else value >= low)


def _refuse(name: str, found: object, why: str) -> ArtifactError:
    return ArtifactError(f"calibration: {name}", f"found {found!r}: {why}", "take it from the model's own artifact")
