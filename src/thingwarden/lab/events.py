"""What a recipe's events expand to: acts, cuts and losses of power, each at its moment.

In: an event with its moment drawn and its cast known. Out: ``Planned`` actions.
Must never: draw from anything but the event's own random stream.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.taxonomy import TECHNIQUES, AttackClass
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.behaviour.catalogue import ACTS
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import GATEWAY, GATEWAY6, INTERNET6, LAN, LAN6, SPOOFED
from thingwarden.lab.timeline import Action, Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore

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
        settings: as the recipe has them; where it ``varies``, acts draw the others from their whole range.
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
    varies: bool
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
        attack_class: AttackClass | None = None,
    ) -> Planned:
        """``host`` does ``act``; its aims follow from the catalogue, and its class where no other is given.

        Raises:
            ConfigError: the act does not take these settings.
        """
        kind = ACTS[act]
        given = draw_settings(kind.settings, self.rng) if self.varies else {}
        given |= {key: self._resolve(value) for key, value in settings.items()}
        given |= {"lasts_s": round(self.lasts_s if lasts_s is None else lasts_s, 3)}
        given |= {"targets": tuple(self.address(name) for name in targets)} if targets else {}
        try:
            checked = kind.settings.model_validate(given)
        except ValidationError as error:
            raise settings_error(self.place, error) from error
        action = Perform(
            act=act,
            host=host,
            settings=checked.model_dump(exclude_unset=True),
            lasts_s=checked.lasts_s,
            attack_class=attack_class or kind.attack_class,
            technique=TECHNIQUES[attack_class][0] if attack_class else kind.technique,
            aims=kind.aims(checked),
        )
        return self.at(offset_s, action)

    def _resolve(self, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(self._resolve(part) for part in value)
        return self.address(value[1:]) if isinstance(value, str) and value.startswith("@") else value


def settings_error(place: str, error: ValidationError) -> ConfigError:
    """Names the key among the settings, what was found and what is allowed."""
    first = error.errors()[0]
    key = ".".join(("settings", *(str(part) for part in first["loc"])))
    return ConfigError(f"{place}, {key}", f"{first['msg']}, found {first['input']!r}")


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
    is_hard_negative: bool = True


class _EventSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutageSettings(_EventSettings):
    """``mode``: see ``timeline.Cut``."""

    mode: Literal["silent", "refusing"] = "silent"


class PowerSettings(_EventSettings):
    """``spread_s``: within which all of them lose it, and within which all of them get it back."""

    spread_s: float = Field(default=0.0, ge=0.0, le=3600.0)


class AddressSettings(_EventSettings):
    """``last_byte``: of the first new address; 0 takes free ones from the top of the LAN's prefix."""

    last_byte: int = Field(default=0, ge=0, le=250)


class UpdateSettings(_EventSettings):
    """``image_bytes`` fetched by each; ``reboot_s`` without power afterwards."""

    image_bytes: int = Field(default=4_000_000, ge=1_000, le=50_000_000)
    reboot_s: float = Field(default=3.0, gt=0.0, le=120.0)


class InfectionSettings(_EventSettings):
    """``guess`` finds the password, ``control`` is how a new bot keeps in touch, every ``period_s``."""

    guess: Literal["guess_telnet", "guess_ssh"] = "guess_telnet"
    control: Literal["c2_irc", "c2_http", "c2_tls", "c2_tcp", "c2_mqtt", "c2_udp"] = "c2_tcp"
    period_s: float = Field(default=10.0, ge=2.0, le=14_400.0)


_SettingsT = TypeVar("_SettingsT", bound=_EventSettings)


def _checked(occasion: Occasion, model: type[_SettingsT]) -> _SettingsT:
    try:
        return model.model_validate(dict(occasion.settings))
    except ValidationError as error:
        raise settings_error(occasion.place, error) from error


def _required(occasion: Occasion, key: Literal["by", "on"]) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(occasion, key)
    if not names:
        raise ConfigError(f"{occasion.place}, {key}", "nobody is named", "name at least one")
    return names


def _outage(targets: tuple[str, ...] = ()) -> Callable[[Occasion], list[Planned]]:
    """Cut ``targets``, or where there are none those in ``on``, and restore them at the end."""

    def expand_outage(occasion: Occasion) -> list[Planned]:
        mode = _checked(occasion, OutageSettings).mode
        cut = targets or _required(occasion, "on")
        begun = [occasion.at(0.0, Cut(target=target, mode=mode)) for target in cut]
        return begun + [occasion.at(occasion.lasts_s, Restore(target=target)) for target in cut]

    return expand_outage


def _performed(act: str, *, together_s: float = 2.0) -> Callable[[Occasion], list[Planned]]:
    """Each in ``by`` performs ``act`` on all in ``on``, all of them beginning within ``together_s``."""

    def expand_act(occasion: Occasion) -> list[Planned]:
        performed = []
        for host in _required(occasion, "by"):
            offset_s = (
                occasion.rng.uniform(0.0, min(together_s, occasion.lasts_s / 10)) if len(occasion.by) > 1 else 0.0
            )
            performed.append(
                occasion.perform(
                    act,
                    host,
                    settings=occasion.settings,
                    targets=occasion.on,
                    offset_s=offset_s,
                    lasts_s=occasion.lasts_s - offset_s,
                )
            )
        return performed

    return expand_act


def _join(occasion: Occasion) -> list[Planned]:
    for name in _required(occasion, "by"):
        if not occasion.hosts[name].joins:
            raise ConfigError(f"{occasion.place}, by", f"{name} is there from the beginning", "give it joins = true")
    return [occasion.at(0.0, PowerOn(host=name)) for name in occasion.by]


def _lose_power(occasion: Occasion) -> list[Planned]:
    """Those in ``by``, or all that are there, lose their power and get it back."""
    spread_s = min(_checked(occasion, PowerSettings).spread_s, occasion.lasts_s / 2)
    planned = []
    for name in occasion.by or [name for name, host in occasion.hosts.items() if not host.joins]:
        lost_s, found_s = (occasion.rng.uniform(0.0, spread_s) for _ in range(2))
        planned.append(occasion.at(lost_s / 4, PowerOff(host=name)))
        planned.append(occasion.at(occasion.lasts_s - spread_s + found_s, PowerOn(host=name)))
    return planned


def _change_address(occasion: Occasion) -> list[Planned]:
    first = _checked(occasion, AddressSettings).last_byte
    taken = {host.address for host in occasion.hosts.values()}
    numbers = range(first, 251) if first else range(250, 1, -1)
    free = iter(address for number in numbers if (address := str(LAN.network_address + number)) not in taken)
    planned = []
    for name in _required(occasion, "by"):
        planned.append(occasion.at(0.0, PowerOff(host=name)))
        planned.append(occasion.at(occasion.lasts_s, PowerOn(host=name, address=next(free))))
    return planned


def _update_firmware(occasion: Occasion) -> list[Planned]:
    """Each in ``by`` fetches its image, then restarts; they do not all begin at once."""
    settings = _checked(occasion, UpdateSettings)
    reboot_s = min(settings.reboot_s, occasion.lasts_s / 4)
    planned = []
    for name in _required(occasion, "by"):
        offset_s = occasion.rng.uniform(0.0, occasion.lasts_s / 4)
        fetches_s = occasion.lasts_s / 2
        given = {"image_bytes": settings.image_bytes}
        planned += [
            occasion.perform(
                "fetch_firmware", name, settings=given, targets=occasion.on, offset_s=offset_s, lasts_s=fetches_s
            ),
            occasion.at(offset_s + fetches_s, PowerOff(host=name)),
            occasion.at(offset_s + fetches_s + reboot_s, PowerOn(host=name)),
        ]
    return planned


def _meet_portal(occasion: Occasion) -> list[Planned]:
    """What is in ``on`` refuses until those in ``by`` have gone through the portal."""
    cut = [occasion.at(0.0, Cut(target=target, mode="refusing")) for target in occasion.on]
    cut += [occasion.at(occasion.lasts_s, Restore(target=target)) for target in occasion.on]
    return cut + [
        occasion.perform("meet_portal", name, settings=occasion.settings) for name in _required(occasion, "by")
    ]


class BotnetSettings(_EventSettings):
    """``flood`` is the act that all bots perform; ``packets_per_s`` of each, where it sends bare packets."""

    flood: Literal["flood_syn", "flood_ack", "flood_udp", "flood_icmp", "flood_udp_ports"] = "flood_syn"
    packets_per_s: float = Field(default=150.0, gt=0.0, le=1_000.0)
    packet_count: int = Field(default=1_000, ge=1, le=10_000)


def _flood_together(occasion: Occasion) -> list[Planned]:
    """All in ``by`` flood the same target: distributed, for the gateway sees several sources."""
    settings = _checked(occasion, BotnetSettings)
    given = {"packets_per_s": settings.packets_per_s, "count": settings.packet_count}
    spread_s = min(2.0, occasion.lasts_s / 10)
    planned = []
    for host in _required(occasion, "by"):
        offset_s = occasion.rng.uniform(0.0, spread_s)
        planned.append(
            occasion.perform(
                settings.flood,
                host,
                settings=given,
                targets=_required(occasion, "on"),
                offset_s=offset_s,
                lasts_s=occasion.lasts_s - offset_s,
                attack_class=AttackClass.DDOS,
            )
        )
    return planned


def _break_in(occasion: Occasion) -> list[Planned]:
    """The first in ``by`` guesses the password of each in ``on`` and logs in; those turn into bots."""
    settings = _checked(occasion, InfectionSettings)
    offender = _required(occasion, "by")[0]
    login_s, load_s = occasion.lasts_s / 4, occasion.lasts_s * 3 / 8
    planned = []
    for victim in _required(occasion, "on"):
        planned.append(
            occasion.perform(settings.guess, offender, settings={"finds": True}, targets=(victim,), lasts_s=login_s)
        )
        # SSH's dialogue ends in a session of its own; what follows telnet's is another connection.
        if settings.guess == "guess_telnet":
            planned.append(
                occasion.perform(
                    "login",
                    offender,
                    settings={},
                    targets=(victim,),
                    offset_s=login_s,
                    lasts_s=load_s - login_s,
                    attack_class=AttackClass.LATERAL if offender in occasion.hosts else None,
                )
            )
        planned += _turn(occasion, settings, victim, load_s)
    return planned


def _break_out(occasion: Occasion) -> list[Planned]:
    """The first in ``by`` is a worm that takes the first in ``on``, which is one from then on, and so on."""
    settings = _checked(occasion, InfectionSettings)
    victims = _required(occasion, "on")
    stage_s = occasion.lasts_s / (len(victims) + 1)
    planned = []
    for number, offender in enumerate((_required(occasion, "by")[0], *victims[:-1])):
        planned.append(
            occasion.perform(
                "spread",
                offender,
                settings={"hosts": 250},
                targets=("lan",),
                offset_s=number * stage_s,
                lasts_s=stage_s * 0.8,
            )
        )
        planned += _turn(occasion, settings, victims[number], (number + 0.8) * stage_s)
    return planned


def _turn(occasion: Occasion, settings: InfectionSettings, victim: str, offset_s: float) -> list[Planned]:
    """From ``offset_s`` on the victim loads a bot and keeps in touch with its owner until the end."""
    load_s = (occasion.lasts_s - offset_s) / 5
    return [
        occasion.perform("download", victim, settings={}, offset_s=offset_s, lasts_s=load_s),
        occasion.perform(
            settings.control,
            victim,
            settings={"period_s": settings.period_s},
            offset_s=offset_s + load_s,
            lasts_s=occasion.lasts_s - offset_s - load_s,
        ),
    ]


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
    return _performed(kind)(occasion)


EVENTS: Final[dict[str, EventKind]] = {
    "address_change": EventKind(about="Devices come back from a restart with other addresses.", expand=_change_address),
    "backup": EventKind(about="Hosts upload much, as they do every night.", expand=_performed("backup")),
    "break_in": EventKind(
        about="A password is found, a bot is loaded and calls home.", expand=_break_in, is_hard_negative=False
    ),
    "botnet_flood": EventKind(
        about="Several bots flood one target together.", expand=_flood_together, is_hard_negative=False
    ),
    "broker_outage": EventKind(about="The home's MQTT broker cannot be reached.", expand=_outage()),
    "captive_portal": EventKind(about="A portal stands between devices and the internet.", expand=_meet_portal),
    "cloud_outage": EventKind(about="Services of the internet cannot be reached.", expand=_outage()),
    "dead_vendor": EventKind(about="A maker's server is gone for good.", expand=_performed("call_dead_server")),
    "dns_outage": EventKind(about="The resolver does not answer.", expand=_outage(("resolver",))),
    "firmware_update": EventKind(about="All devices of a maker fetch megabytes and restart.", expand=_update_firmware),
    "isp_outage": EventKind(about="The uplink is gone.", expand=_outage(("uplink",))),
    "new_device": EventKind(about="Devices join that were never seen.", expand=_join),
    "ntp_outage": EventKind(about="The time server does not answer.", expand=_outage(("time.example",))),
    "owner_scan": EventKind(about="The owner runs nmap.", expand=_performed("scan_own_network")),
    "power_cut": EventKind(about="Everything restarts at the same time.", expand=_lose_power),
    "printer_storm": EventKind(
        about="Computers ask the whole LAN for printers.", expand=_performed("look_for_printers")
    ),
    "time_change": EventKind(
        about="The clock jumps: NTP, and what is due falls due at once on several devices.",
        expand=_performed("catch_up_with_clock", together_s=0.5),
    ),
    "video_call": EventKind(about="A person calls by video.", expand=_performed("call_by_video")),
    "worm": EventKind(about="A worm takes one device after the other.", expand=_break_out, is_hard_negative=False),
}
"""By the name that recipes use; every act is an event as well, performed by each in ``by`` on all in ``on``."""
