"""How wide an attack's settings may range: declared beside their usual values, drawn for training.

In: a settings model, a random generator. Out: values for its fields, each from its whole range.
Must never: draw what the model's own bounds refuse, or draw targets; who is attacked is the event's business.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import Field

from thingwarden.lab.behaviour.act import ActSettings

_NAMED_SHARE: Final = 0.6
"""How often a drawn port is one of those that its attack is known for; else it is any at all."""


def number(usual: float, low: float, high: float) -> Any:
    """A field that is drawn uniformly in the logarithm."""
    return Field(default=usual, ge=low, le=high, json_schema_extra={"draw": "logarithmic"})


def share(usual: float, low: float = 0.0, high: float = 1.0) -> Any:
    """A field that is drawn uniformly: a part of a whole, an hour."""
    return Field(default=usual, ge=low, le=high, json_schema_extra={"draw": "linear"})


def one_of(usual: float, *others: float) -> Any:
    """A number that is drawn from the few that makers choose."""
    known = (usual, *others)
    extra: dict[str, Any] = {"draw": "choice", "known": list(known)}
    return Field(default=usual, ge=min(known), le=max(known), json_schema_extra=extra)


def rarely(usual: float, low: float, high: float, *, likely: float = 0.3) -> Any:
    """A field that is 0 but for a share ``likely``, in which it is drawn uniformly in the logarithm."""
    extra: dict[str, Any] = {"draw": "rarely", "low": low, "likely": likely}
    return Field(default=usual, ge=0, le=high, json_schema_extra=extra)


def port(usual: int, *known: int) -> Any:
    """A port: drawn from ``usual`` and ``known``, or any at all."""
    return Field(default=usual, ge=1, le=65535, json_schema_extra={"draw": "port", "known": [usual, *known]})


def known_port(usual: int, *known: int) -> Any:
    """A port whose service must really be there: drawn from ``usual`` and ``known`` only."""
    return Field(default=usual, ge=1, le=65535, json_schema_extra={"draw": "choice", "known": [usual, *known]})


def flag(usual: bool, likely: float = 0.5) -> Any:
    """A yes or no, drawn as yes in a share ``likely``."""
    return Field(default=usual, json_schema_extra={"draw": "flag", "likely": likely})


def draw_settings(settings: type[ActSettings], rng: random.Random) -> dict[str, object]:
    """Draw every field that declares a breadth.

    Args:
        settings: the model of one act.
        rng: is asked once per field, in the order of declaration.

    Returns:
        values by name of field; what has no breadth is absent and keeps its default.
    """
    drawn: dict[str, object] = {}
    for name, declared in settings.model_fields.items():
        if get_origin(declared.annotation) is Literal:
            drawn[name] = rng.choice(get_args(declared.annotation))
        elif isinstance(declared.json_schema_extra, dict):
            low, high = _bounds(declared.metadata)
            value = _draw(declared.json_schema_extra, low, high, rng)
            drawn[name] = int(value) if declared.annotation is int else value
    return drawn


def _bounds(metadata: Sequence[Any]) -> tuple[float, float]:
    low = next((bound.ge for bound in metadata if hasattr(bound, "ge")), 0.0)
    high = next((bound.le for bound in metadata if hasattr(bound, "le")), 1.0)
    return float(low), float(high)


def _draw(declared: dict[str, Any], low: float, high: float, rng: random.Random) -> float | bool:
    way = declared["draw"]
    if way == "rarely":
        return _logarithmic(declared["low"], high, rng) if rng.random() < declared["likely"] else 0.0
    if way == "logarithmic":
        return _logarithmic(low, high, rng)
    if way == "linear":
        return rng.uniform(low, high)
    if way == "flag":
        return rng.random() < float(declared["likely"])
    if way == "choice" or rng.random() < _NAMED_SHARE:
        return float(rng.choice(declared["known"]))
    return rng.randrange(1, 65536)


def _logarithmic(low: float, high: float, rng: random.Random) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
