"""What a recipe's events expand to: acts, cuts and losses of power, each at its moment.

In: an event with its moment drawn and its cast known. Out: ``Planned`` actions.
Must never: draw from anything but the event's own random stream.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.behaviour.catalogue import ACTS
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import GATEWAY, GATEWAY6, INTERNET6, LAN, LAN6, SPOOFED
from thingwarden.lab.timeline import Action, Cut, Host, Perform, Planned, Restore

_PLACES: Final = {
    "gateway": {4: str(GATEWAY), 6: str(GATEWAY6)},
    "lan": {4: str(LAN), 6: str(LAN6)},
    "elsewhere": {4: str(SPOOFED), 6: str(INTERNET6)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One happening of an event.

    Attributes:
        name: ``<kind>-<number>``, unique in the scenario.
        by, on: names, as the recipe has them.
        ip_version: by which the ones in ``on`` are addressed.
        begins_s, lasts_s: moment and bound.
        settings: as the recipe has them.
        hosts: of the LAN, by name.
        rng: random stream of this happening alone.
        place: where in which recipe, for errors.
    """

    name: str
    by: tuple[str, ...]
    on: tuple[str, ...]
    ip_version: Literal[4, 6]
    begins_s: float
    lasts_s: float
    settings: Mapping[str, object]
    hosts: Mapping[str, Host]
    rng: random.Random
    place: str

    def at(self, offset_s: float, action: Action) -> Planned:
        """``action``, ``offset_s`` after this happening's beginning."""
        return Planned(at_s=round(self.begins_s + offset_s, 3), event=self.name, action=action)

    def address(self, name: str) -> str:
        """The address or prefix that ``name`` stands for.

        Raises:
            ConfigError: nobody has that name, or not in this IP version.
        """
        if name in _PLACES:
            return _PLACES[name][self.ip_version]
        found: Host | object = self.hosts.get(name) or SERVICES.get(name)
        address = str(getattr(found, "address" if self.ip_version == 4 else "address6", ""))
        if not address:
            raise ConfigError(self.place, f"{name} has no IPv{self.ip_version} address", "name another, or ip_version")
        return address

    def perform(
        self,
        act: str,
        host: str,
        *,
        settings: Mapping[str, object],
        targets: Sequence[str] = (),
        offset_s: float = 0.0,
        lasts_s: float | None = None,
    ) -> Planned:
        """``host`` does ``act``; its class, technique and aims follow from the catalogue.

        Raises:
            ConfigError: the act does not take these settings.
        """
        kind = ACTS[act]
        given = {key: self._resolve(value) for key, value in settings.items()}
        given |= {"lasts_s": round(self.lasts_s if lasts_s is None else lasts_s, 3)}
        given |= {"targets": tuple(self.address(name) for name in targets)} if targets else {}
        try:
            checked = kind.settings.model_validate(given)
        except ValidationError as error:
            raise _settings_error(self.place, error) from error
        action = Perform(
            act=act,
            host=host,
            settings=checked.model_dump(exclude_unset=True),
            lasts_s=checked.lasts_s,
            attack_class=kind.attack_class,
            technique=kind.technique,
            aims=kind.aims(checked),
        )
        return self.at(offset_s, action)

    def _resolve(self, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(self._resolve(part) for part in value)
        return self.address(value[1:]) if isinstance(value, str) and value.startswith("@") else value


def _settings_error(place: str, error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(("settings", *(str(part) for part in first["loc"])))
    return ConfigError(f"{place}, {key}", f"{first['msg']}, found {first['input']!r}")


class EventSettings(BaseModel):
    """What an event that is more than one act is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """One entry of the catalogue.

    Attributes:
        about: one sentence for ``lab describe``.
        expand: the actions of one happening.
        is_hard_negative: whether it is one of the harmless events that a detector must bear.
    """

    about: str
    expand: Callable[[Occasion], list[Planned]]
    is_hard_negative: bool = False


class OutageSettings(EventSettings):
    """``mode``: see ``timeline.Cut``."""

    mode: Literal["silent", "refusing"] = "silent"


class PowerSettings(EventSettings):
    """``spread_s``: between the first device to come back and the last."""

    spread_s: float = Field(default=4.0, ge=0.0, le=600.0)


def _checked(occasion: Occasion, model: type[OutageSettings]) -> OutageSettings:
    try:
        return model.model_validate(dict(occasion.settings))
    except ValidationError as error:
        raise _settings_error(occasion.place, error) from error


def _cut(occasion: Occasion) -> list[Planned]:
    """Cut everything in ``on`` and restore it at the end."""
    mode = _checked(occasion, OutageSettings).mode
    cuts = [occasion.at(0.0, Cut(target=target, mode=mode)) for target in occasion.on]
    return cuts + [occasion.at(occasion.lasts_s, Restore(target=target)) for target in occasion.on]


def expand(kind: str, occasion: Occasion) -> list[Planned]:
    """The actions of one happening; an act that is no event of its own is performed by each in ``by`` on all in ``on``.

    Raises:
        ConfigError: there is no such event, or its settings are wrong.
    """
    if kind in EVENTS:
        return EVENTS[kind].expand(occasion)
    if kind not in ACTS:
        known = ", ".join(sorted({*EVENTS, *ACTS}))
        raise ConfigError(occasion.place, f"kind {kind} is unknown", f"one of {known}")
    return [_by_one(kind, host, occasion) for host in occasion.by]


def _by_one(act: str, host: str, occasion: Occasion) -> Planned:
    # Bots that one master commands act together, but not in the same millisecond.
    offset_s = occasion.rng.uniform(0.0, min(2.0, occasion.lasts_s / 10)) if len(occasion.by) > 1 else 0.0
    lasts_s = occasion.lasts_s - offset_s
    return occasion.perform(
        act, host, settings=occasion.settings, targets=occasion.on, offset_s=offset_s, lasts_s=lasts_s
    )


EVENTS: Final[dict[str, EventKind]] = {
    "outage": EventKind(
        about="A service, the resolver, the uplink or a host cannot be reached.", expand=_cut, is_hard_negative=True
    ),
}
