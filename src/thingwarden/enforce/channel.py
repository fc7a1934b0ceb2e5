"""What an enforcer's process says on its socket: who it is, its receipts, why it will not.

In: receipts and capabilities, or bytes that claim to hold them. Out: JSON messages of bounded length, or the values.
Must never: make a message that one read of the other side cannot take; import beyond the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import canonical_json, parse_json
from thingwarden.domain.response import Act, Capability, Reach, Receipt, ReceiptStatus

MAX_ORDER_BYTES: Final = 16_384
MAX_ANSWER_BYTES: Final = 16_384
MAX_DETAIL_LENGTH: Final = 1000
CHALLENGE_BYTES: Final = 16
_FRAME_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message on a channel.

    Attributes:
        challenge: what every order on this channel must repeat.
        name: what receipts call the enforcer.
        capabilities: what it can do, one for each place that it stands at.
    """

    challenge: str
    name: str
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an order was answered.

    Attributes:
        receipts: some or all.
        has_more: further receipts follow in another message.
        error: why the order was not understood; empty where it was.
    """

    receipts: tuple[Receipt, ...] = ()
    has_more: bool = False
    error: str = ""


def encode_hello(hello: Hello) -> bytes:
    """The message."""
    capabilities = [
        {
            "reach": item.reach.value,
            "acts": sorted(act.value for act in item.acts),
            "ends_by_itself": item.ends_by_itself,
        }
        for item in hello.capabilities
    ]
    return canonical_json({"challenge": hello.challenge, "name": hello.name, "capabilities": capabilities})


def read_hello(message: bytes) -> Hello:
    """The values of the message.

    Raises:
        RequestError: it is no such message.
    """
    data = _parse_object(message, "hello")
    try:
        capabilities = tuple(
            Capability(
                reach=Reach(item["reach"]),
                acts=frozenset(map(Act, item["acts"])),
                ends_by_itself=item["ends_by_itself"] is True,
            )
            for item in data["capabilities"]
        )
        return Hello(challenge=str(data["challenge"]), name=str(data["name"]), capabilities=capabilities)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError("hello", f"not what an enforcer says first: {error!r}") from error


def encode_answers(receipts: Sequence[Receipt]) -> Iterator[bytes]:
    """The receipts as messages, at least one, each as full as it may be."""
    part: list[dict[str, Any]] = []
    part_bytes = _FRAME_BYTES
    for receipt in receipts:
        data = _encode_receipt(receipt)
        data_bytes = len(canonical_json(data)) + 1
        if part and part_bytes + data_bytes > MAX_ANSWER_BYTES:
            yield canonical_json({"receipts": part, "has_more": True})
            part, part_bytes = [], _FRAME_BYTES
        part.append(data)
        part_bytes += data_bytes
    yield canonical_json({"receipts": part, "has_more": False})


def encode_error(error: str) -> bytes:
    """The message that says why an order was not understood."""
    return canonical_json({"error": error[:MAX_DETAIL_LENGTH]})


def read_answer(message: bytes) -> Answer:
    """The values of the message.

    Raises:
        RequestError: it is no such message.
    """
    data = _parse_object(message, "answer")
    try:
        if "error" in data:
            return Answer(error=str(data["error"]))
        receipts = tuple(_read_receipt(item) for item in data["receipts"])
        return Answer(receipts=receipts, has_more=data["has_more"] is True)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError("answer", f"not what an enforcer answers: {error!r}") from error


def _parse_object(message: bytes, what: str) -> dict[str, Any]:
    data = parse_json(message, what)
    if not isinstance(data, dict):
        raise RequestError(what, "expected an object")
    return data


def _encode_receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "decision_id": receipt.decision_id,
        "enforcer": receipt.enforcer,
        "status": receipt.status.value,
        "at": receipt.at.astimezone(UTC).isoformat(),
        "detail": receipt.detail[:MAX_DETAIL_LENGTH],
        "packet_count": receipt.packet_count,
        "byte_count": receipt.byte_count,
    }


def _read_receipt(data: dict[str, Any]) -> Receipt:
    at = datetime.fromisoformat(data["at"])
    if at.tzinfo is None:
        raise ValueError("an instant without time zone")
    return Receipt(
        decision_id=str(data["decision_id"]),
        enforcer=str(data["enforcer"]),
        status=ReceiptStatus(data["status"]),
        at=at,
        detail=str(data["detail"]),
        packet_count=_read_count(data["packet_count"]),
        byte_count=_read_count(data["byte_count"]),
    )


def _read_count(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"a count is a whole number, not {value!r}"[:60])
