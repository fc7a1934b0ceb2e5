"""What the journal holds of a response, and what of it is believed when it is read back.

In: what the kernel records, what a person did. Out: ``JournalEntry``; and decisions and refusals that policy signed.
Must never: yield a decision or a refusal whose signature does not hold.
Source: HMAC, RFC 2104; decisions are signed by ``domain/order.py``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.incident import Incident, IncidentChange
from thingwarden.domain.order import sign_decision, verify_decision
from thingwarden.domain.plan import canonical_json, decision_values, encode_decision
from thingwarden.domain.response import Decision, Receipt, Refusal
from thingwarden.pipeline import Record
from thingwarden.respond.policy import NetworkView, proposal_id
from thingwarden.respond.protect import ProtectedHosts
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value, value_from_plain

PROTECTED: Final = "protected"
"""Subject of the entries that tell which hosts were learned to be protected."""

_HINT: Final = "it was altered, made with another key, or of recorded traffic; see: thingwarden audit verify"


class HumanVerb(Enum):
    """What a person did about a response; the value is the wire name."""

    APPROVE = "approve"
    REFUSE = "refuse"
    REVOKE = "revoke"
    EXTEND = "extend"
    PANIC = "panic"


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanAct:
    """What a person did.

    Attributes:
        verb: what.
        subject_id: id of the proposal or decision; empty for a panic, which is about everything.
        person: who says to have done it.
        reason: why, in the person's words; empty where none was given.
    """

    verb: HumanVerb
    subject_id: str
    person: str
    reason: str = ""


def decision_entry(decision: Decision, key: bytes | None) -> JournalEntry:
    """A decision in plan form with its signature; without a key it is kept, and never enforced from here."""
    signature = None if key is None else sign_decision(decision, key)
    body = {"plan": encode_decision(decision), "signature": signature}
    return _entry(decision.decided_at, "decision", decision.decision_id, decision.incident_id, body)


def refusal_entry(refusal: Refusal, key: bytes | None) -> JournalEntry:
    """A refusal with its signature, under its proposal's id; without a key nobody can approve it later."""
    name = proposal_id(refusal.proposal)
    body = {"proposal_id": name, **plain_from_value(refusal)}
    signature = None if key is None else _sign_refusal(body, key)
    incident = refusal.proposal.incident_id
    return _entry(refusal.at, "refusal", name, incident, {**body, "signature": signature})


def receipt_entry(receipt: Receipt, incident_id: str) -> JournalEntry:
    """What an enforcer did for a decision of an incident; the id is empty where it is unknown."""
    return _entry(receipt.at, "receipt", receipt.decision_id, incident_id, plain_from_value(receipt))


def human_entry(act: HumanAct, incident_id: str, at: datetime) -> JournalEntry:
    """What a person did about something of an incident; the id is empty for a panic."""
    return _entry(at, "operator", act.subject_id, incident_id, plain_from_value(act))


def network_entry(protected: ProtectedHosts, at: datetime) -> JournalEntry:
    """Which hosts were learned to be protected so far."""
    roles = {str(address): plain_from_value(role) for address, role in protected.roles.items()}
    return _entry(at, "network", PROTECTED, "", {"roles": roles, "macs": sorted(protected.macs)})


def entry_from_record(record: Record, incident_of: Mapping[str, str], key: bytes | None) -> JournalEntry:
    """What the kernel wants to be written down.

    Args:
        record: from the kernel.
        incident_of: incident's id by decision's id.
        key: of policy; None where nothing may be enforced from the journal, as for recorded traffic.
    """
    entry = record.entry
    if isinstance(entry, IncidentChange):
        name = entry.incident.incident_id
        return _entry(record.at, "incident", name, name, plain_from_value(entry.incident))
    if isinstance(entry, Decision):
        return decision_entry(entry, key)
    if isinstance(entry, Refusal):
        return refusal_entry(entry, key)
    if isinstance(entry, Receipt):
        return receipt_entry(entry, incident_of.get(entry.decision_id, ""))
    return _entry(record.at, "operator", entry.subject_id, "", plain_from_value(entry))


def genuine_decision(body: Mapping[str, Any], key: bytes | None) -> Decision:
    """The decision that a journal entry's body holds.

    Raises:
        RequestError: it is not signed, or not by this key, or was altered.
    """
    plan, signature = body.get("plan"), body.get("signature")
    if key is None or not isinstance(signature, str):
        why = "there is no key to check it with" if key is None else "policy did not sign it"
        raise RequestError(f"decision {_id_of(plan)}", why, _HINT)
    try:
        return verify_decision(plan, signature, key)
    except RequestError as error:
        raise RequestError(f"decision {_id_of(plan)}", error.why, _HINT) from error


def genuine_refusal(body: Mapping[str, Any], key: bytes | None) -> Refusal:
    """The refusal that a journal entry's body holds.

    Raises:
        RequestError: it is not signed, or not by this key, or was altered.
    """
    what = f"proposal {str(body.get('proposal_id'))[:12]}"
    unsigned = {name: value for name, value in body.items() if name != "signature"}
    signature = body.get("signature")
    if key is None or not isinstance(signature, str):
        raise RequestError(what, "there is no key to check it with" if key is None else "policy did not sign it", _HINT)
    if not hmac.compare_digest(_sign_refusal(unsigned, key).encode(), signature.encode("utf-8", "replace")):
        raise RequestError(what, "its signature is not policy's", _HINT)
    refusal = value_from_plain(Refusal, {k: v for k, v in unsigned.items() if k != "proposal_id"}, what)
    if proposal_id(refusal.proposal) != unsigned["proposal_id"]:
        raise RequestError(what, "it was refused by another version of this program", "wait until it is proposed again")
    return refusal


def shown_decision(body: Mapping[str, Any]) -> dict[str, Any]:
    """A decision's entry in the shape that people and programs are shown, genuine or not.

    Raises:
        RequestError: it is no plan at all.
    """
    shown: dict[str, Any] = plain_from_value(decision_values(body.get("plan")))
    absent = dict.fromkeys(("approved_by", "replaces", "cost"))
    return {**absent, **shown}


def incident_report(journal: Journal, incident_id: str) -> dict[str, Any]:
    """One incident with its decisions, refusals and receipts, as shown; the id's beginning suffices.

    Raises:
        RequestError: none or several begin so, or a decision of it is none.
    """
    found = journal.incident(incident_id)
    refusals = [{name: item for name, item in body.items() if name != "signature"} for body in found["refusals"]]
    return {**found, "decisions": [shown_decision(body) for body in found["decisions"]], "refusals": refusals}


def known_incident(journal: Journal, incident_id: str) -> Incident:
    """An incident as last told.

    Raises:
        RequestError: the journal holds none of that id.
    """
    bodies = [entry.body for entry in journal.entries(kind="incident", subject=incident_id)]
    if not bodies:
        raise RequestError(f"incident {incident_id}", "the journal does not hold it")
    return value_from_plain(Incident, bodies[-1], f"incident {incident_id}")


def known_network(journal: Journal) -> NetworkView:
    """The devices and the protected hosts that the journal tells of.

    Raises:
        RequestError: an entry is not what it claims to be.
    """
    devices = tuple(value_from_plain(Device, body.get("device"), "device") for body in journal.latest("device"))
    learned: dict[str, Any] = next(iter(journal.latest("network")), {"roles": {}, "macs": []})
    rest = {"index": 0, "mac": None}
    hosts = [value_from_plain(Device, {**rest, "address": text}, "network").address for text in learned["roles"]]
    return NetworkView(
        devices=devices,
        protected_addresses=frozenset(address for address in hosts if address is not None),
        protected_macs=frozenset(learned["macs"]),
    )


def _entry(at: datetime, kind: str, subject: str, incident: str, body: dict[str, Any]) -> JournalEntry:
    return JournalEntry(at=plain_from_value(at), kind=kind, subject=subject, incident=incident, body=body)


def _sign_refusal(body: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, b"refusal\0" + canonical_json(body), hashlib.sha256).hexdigest()


def _id_of(plan: object) -> str:
    return str(plan.get("decision_id"))[:12] if isinstance(plan, Mapping) else "?"
