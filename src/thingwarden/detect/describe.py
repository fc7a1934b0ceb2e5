"""One plain sentence about an incident.

In: the tallied facts. Out: text in English, no markup.
Must never: repeat a string that an attacker chose; addresses and numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.span import format_span
from thingwarden.domain.taxonomy import AttackClass

CLASS_NAMES: Final = {
    AttackClass.BENIGN: "normal traffic",
    AttackClass.SCAN: "scanning",
    AttackClass.BRUTE_FORCE: "password guessing",
    AttackClass.DOS: "a denial-of-service attack",
    AttackClass.DDOS: "a distributed denial-of-service attack",
    AttackClass.C2: "command and control",
    AttackClass.DOWNLOAD: "a malware download",
    AttackClass.EXPLOIT: "an exploit",
    AttackClass.MITM: "traffic interception",
    AttackClass.LATERAL: "spreading inside the network",
    AttackClass.EXFILTRATION: "data theft",
    AttackClass.UNKNOWN: "an attack of no known class",
    AttackClass.UNREACHABLE_PEER: "regular contact with a peer that never answers or always refuses",
}

_NAMED_CLASSES: Final = 3
"""Attack classes that one sentence names."""

_NAMED_PORTS: Final = 3
"""Ports among the contacts beyond which no port is named."""


def summarise_incident(incident: Incident, contacts: Sequence[Contact], peer_count: int) -> str:
    """Who does what to whom, how often, and how sure that is.

    Args:
        incident: its own summary is not read.
        contacts: those of its main class, most flows first; none where no flow speaks for it.
        peer_count: distinct addresses of its main class.
    """
    if not contacts:
        sure = format_confidence(incident.confidence)
        return f"{incident.device.name} looks like {_state(incident)} by what is said on the link, {sure} sure"
    verb = "contacts" if incident.role is Role.OFFENDER else "is contacted by"
    if incident.role is Role.TARGET and contacts[0].is_outbound:
        verb = "is answered by"
    rhythm = incident.rhythm
    beat = f" every {format_span(rhythm.interval_s)}" if rhythm is not None and rhythm.is_periodic else ""
    flows = "1 flow" if incident.flow_count == 1 else f"{incident.flow_count:,} flows"
    return (
        f"{incident.device.name} {verb} {_whom(contacts, peer_count, incident.is_count_exact)}{beat} "
        f"and looks like {_state(incident)}: {flows}, {format_confidence(incident.confidence)} sure"
    )


def format_confidence(confidence: float) -> str:
    """A probability in whole per cent, never rounded up to certainty."""
    return "over 99 %" if confidence > 0.99 else f"{confidence:.0%}".replace("%", " %")


def _state(incident: Incident) -> str:
    names = [CLASS_NAMES[attack_class] for attack_class, _ in incident.class_counts[:_NAMED_CLASSES]]
    name = names[0] if len(names) == 1 else f"{names[0]}, also {' and '.join(names[1:])}"
    return name if incident.role is Role.OFFENDER else f"the target of {name}"


def _whom(contacts: Sequence[Contact], peer_count: int, is_count_exact: bool) -> str:
    first, service = contacts[0], _service(contacts)
    more = "" if is_count_exact else "more than "
    if peer_count > 1 and _is_even(contacts):
        return f"{more}{peer_count:,} addresses on {service}"
    if peer_count > 1:
        return f"{more}{peer_count:,} addresses, mostly {first.peer}, on {service}"
    return f"{first.peer} on {service}"


def _is_even(contacts: Sequence[Contact]) -> bool:
    return len(contacts) > 1 and contacts[1].flow_count * 4 > contacts[0].flow_count


def _service(contacts: Sequence[Contact]) -> str:
    ports = {(contact.proto, contact.port) for contact in contacts}
    if len(ports) > _NAMED_PORTS:
        return "many ports"
    return f"{contacts[0].proto}/{contacts[0].port}{' and other ports' if len(ports) > 1 else ''}"
