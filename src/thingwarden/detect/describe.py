"""One plain sentence about an incident.

In: the tallied facts. Out: text in English, no markup.
Must never: repeat a string that an attacker chose; addresses and numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from thingwarden.domain.incident import Contact, Rhythm, Role
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
}


def summarise_incident(
    *,
    device_name: str,
    role: Role,
    attack_class: AttackClass,
    contacts: Sequence[Contact],
    peer_count: int,
    is_count_exact: bool,
    rhythm: Rhythm | None,
    flow_count: int,
    confidence: float,
) -> str:
    """Who does what to whom, how often, and how sure that is.

    Args:
        contacts: most flows first, at least one.
        confidence: 0 to 1.
        the others: as in ``Incident``.
    """
    verb = "contacts" if role is Role.OFFENDER else "is contacted by"
    if role is Role.TARGET and contacts[0].is_outbound:
        verb = "is answered by"
    beat = f" every {format_span(rhythm.interval_s)}" if rhythm is not None and rhythm.is_periodic else ""
    flows = "1 flow" if flow_count == 1 else f"{flow_count:,} flows"
    return (
        f"{device_name} {verb} {_whom(contacts, peer_count, is_count_exact)}{beat} "
        f"and looks like {_state(role, attack_class)}: {flows}, {format_confidence(confidence)} sure"
    )


def format_confidence(confidence: float) -> str:
    """A probability in whole per cent, never rounded up to certainty."""
    return "over 99 %" if confidence > 0.99 else f"{confidence:.0%}".replace("%", " %")


def format_span(seconds: float) -> str:
    """A span in the largest unit that leaves a number of at least one."""
    for unit, unit_s in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def _state(role: Role, attack_class: AttackClass) -> str:
    name = CLASS_NAMES[attack_class]
    return name if role is Role.OFFENDER else f"the target of {name}"


def _whom(contacts: Sequence[Contact], peer_count: int, is_count_exact: bool) -> str:
    first = contacts[0]
    service = f"{first.proto}/{first.port}"
    more = "" if is_count_exact else "more than "
    if peer_count > 1 and _is_even(contacts):
        return f"{more}{peer_count:,} addresses on {service}{_and_others(contacts)}"
    if peer_count > 1:
        return f"{more}{peer_count:,} addresses, mostly {first.peer}, on {service}"
    return f"{first.peer} on {service}{_and_others(contacts)}"


def _is_even(contacts: Sequence[Contact]) -> bool:
    return len(contacts) > 1 and contacts[1].flow_count * 4 > contacts[0].flow_count


def _and_others(contacts: Sequence[Contact]) -> str:
    ports = {(contact.proto, contact.port) for contact in contacts}
    return " and other ports" if len(ports) > 1 else ""
