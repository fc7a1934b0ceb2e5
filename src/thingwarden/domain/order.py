"""Orders to an enforcer, sealed so that nobody without the key can make, change or repeat one.

In: an ``Order`` and a key. Out: bytes for a socket, a bus or a store, and the ``Order`` again, if they are genuine.
Must never: yield a ``Decision`` whose signature does not hold; import beyond the standard library.
Source: HMAC, RFC 2104; a challenge per channel and rising numbers, against repetition.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import canonical_json, decision_values, encode_decision, parse_json
from thingwarden.domain.response import Decision

KEY_BYTES: Final = 32
"""Length of the key that policy and enforcers share."""


class OrderVerb(Enum):
    """What an enforcer is asked; the value is the wire name."""

    APPLY = "apply"
    REVOKE = "revoke"
    IN_FORCE = "in_force"
    RELEASE_ALL = "release_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request on a channel.

    Attributes:
        verb: what is asked.
        decision: what to apply or revoke; None for the other verbs.
        challenge: what the enforcer said when the channel was opened.
        number: rises with every order on the channel.
    """

    verb: OrderVerb
    decision: Decision | None
    challenge: str
    number: int


def sign_decision(decision: Decision, key: bytes) -> str:
    """64 hexadecimal digits that only a holder of the key can make for this decision."""
    return _mac("decision", encode_decision(decision), key)


def verify_decision(data: object, signature: str, key: bytes) -> Decision:
    """The decision that JSON data holds, if its signature is genuine.

    Raises:
        RequestError: the signature does not fit, or the data is no decision.
    """
    if not isinstance(data, Mapping) or not _is_genuine("decision", data, signature, key):
        raise RequestError("decision", "its signature is not policy's", "it was altered, or made with another key")
    return Decision(**decision_values(data))


def seal_order(order: Order, key: bytes) -> bytes:
    """The order as bytes, with its seal."""
    body: dict[str, Any] = {"verb": order.verb.value, "challenge": order.challenge, "number": order.number}
    if order.decision is not None:
        body["decision"] = encode_decision(order.decision)
    return canonical_json({"order": body, "seal": _mac("order", body, key)})


def open_order(sealed: bytes, key: bytes, challenge: str, above: int) -> Order:
    """The order that the bytes hold.

    Args:
        sealed: as received.
        key: shared with policy.
        challenge: of this channel.
        above: the highest number that was accepted on it.

    Raises:
        RequestError: forged, altered, repeated, of another channel, or not well formed.
    """
    data = parse_json(sealed, "order")
    if not isinstance(data, dict) or set(data) != {"order", "seal"} or not isinstance(data["order"], dict):
        raise RequestError("order", "expected an order and its seal")
    body = data["order"]
    if not _is_genuine("order", body, data["seal"], key):
        raise RequestError("order", "its seal is not policy's", "it was altered, or made with another key")
    if set(body) - {"decision"} != {"verb", "challenge", "number"} or body["challenge"] != challenge:
        raise RequestError("order", "it was made for another channel")
    number = body["number"]
    if not isinstance(number, int) or isinstance(number, bool) or number <= above:
        raise RequestError("order", "it was given before")
    try:
        verb = OrderVerb(body["verb"])
    except ValueError as error:
        raise RequestError("order", "unknown verb") from error
    needs_decision = verb in (OrderVerb.APPLY, OrderVerb.REVOKE)
    if needs_decision is not ("decision" in body):
        raise RequestError("order", f"{verb.value} and a decision do not go together")
    decision = Decision(**decision_values(body["decision"])) if needs_decision else None
    return Order(verb=verb, decision=decision, challenge=challenge, number=number)


def _mac(label: str, data: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, label.encode() + b"\0" + canonical_json(data), hashlib.sha256).hexdigest()


def _is_genuine(label: str, data: Mapping[str, Any], seal: object, key: bytes) -> bool:
    if not isinstance(seal, str):
        return False
    try:
        expected = _mac(label, data, key)
    except (TypeError, ValueError):
        return False
    return hmac.compare_digest(seal.encode("utf-8", "replace"), expected.encode())
