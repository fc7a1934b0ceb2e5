"""Regular contact that is never answered, or always refused: a dead vendor's cloud looks like a dead controller.

In: an ``Incident`` and the ``Tally`` that it was made of. Out: the incident, named mildly where nothing else speaks.
Must never: stay mild once a single contact was answered, or a second kind of evidence came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from thingwarden.detect.tally import Tally
from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.taxonomy import AttackClass

LEAST_CLOSED: Final = 3
"""Outcomes after which silence is more than a lost packet."""

MOST_PEERS: Final = 4
"""A vendor has a few servers; whoever calls on more than these in vain is looking for something."""

_MILD: Final = frozenset({AttackClass.C2, AttackClass.BRUTE_FORCE, AttackClass.UNKNOWN})
"""What calls without an answer are taken for; nobody guesses passwords where nobody listens."""


def name_unreachable(incident: Incident, tally: Tally) -> Incident:
    """The incident as ``unreachable_peer``, if all that speaks for it is contact in vain with few peers."""
    classes = {attack_class for attack_class, _ in incident.class_counts}
    is_in_vain = tally.closed_count >= LEAST_CLOSED and tally.answered_count == 0
    is_few = incident.peer_count <= MOST_PEERS and incident.is_count_exact
    is_own = incident.role is Role.OFFENDER and not incident.sightings
    if not (classes <= _MILD and is_in_vain and is_few and is_own):
        return incident
    count = sum(count for _, count in incident.class_counts)
    return replace(
        incident,
        attack_class=AttackClass.UNREACHABLE_PEER,
        class_counts=((AttackClass.UNREACHABLE_PEER, count),),
        contacts=tuple(_mild(contact) for contact in incident.contacts),
    )


def _mild(contact: Contact) -> Contact:
    return replace(contact, attack_class=AttackClass.UNREACHABLE_PEER)
