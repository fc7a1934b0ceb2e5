"""The form of an act: something that a host does once, at its moment, beyond its habits.

In: nothing. Out: ``ActKind`` and ``ActSettings``.
Must never: let an act run without a bound in time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World


class ActSettings(BaseModel):
    """What every act is given.

    Attributes:
        targets: addresses, or prefixes for a sweep; a recipe names hosts, the schedule makes addresses of them.
        lasts_s: the bound in time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    targets: tuple[str, ...] = ()
    lasts_s: float = Field(default=60.0, gt=0.0)


SettingsT = TypeVar("SettingsT", bound=ActSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActKind(Generic[SettingsT]):
    """One entry of the catalogue.

    Attributes:
        about: one sentence for ``lab describe``.
        settings: the model that its settings are checked by, with their defaults.
        run: does it; returns when done, and looks at ``settings.lasts_s``.
        aims: which flows it causes; labels follow from them.
        attack_class: benign where it only looks odd.
        technique: MITRE ATT&CK id; empty where benign.
    """

    about: str
    settings: type[SettingsT]
    run: Callable[[World, SettingsT], Coroutine[Any, Any, None]]
    aims: Callable[[SettingsT], tuple[Aim, ...]] = lambda _: ()
    attack_class: AttackClass = AttackClass.BENIGN
    technique: str = ""
