"""What an enforcer's process says is read back as it was said, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.domain.response import ACTS_WITHIN, Capability, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.channel import (
    MAX_ANSWER_BYTES,
    Answer,
    Hello,
    encode_answers,
    encode_error,
    encode_hello,
    read_answer,
    read_hello,
)


def _receipt(number: int = 0, detail: str = "applied") -> Receipt:
    return Receipt(
        decision_id=f"{number:012x}",
        enforcer="nftables",
        status=ReceiptStatus.APPLIED,
        at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        detail=detail,
        packet_count=number,
    )


def test_a_hello_is_read_as_it_was_said() -> None:
    gateway = Capability(reach=Reach.GATEWAY, acts=ACTS_WITHIN[Reach.GATEWAY], ends_by_itself=True)
    broker = Capability(reach=Reach.BROKER, acts=ACTS_WITHIN[Reach.BROKER], ends_by_itself=False)
    hello = Hello(challenge="ab" * 16, name="nftables", capabilities=(gateway, broker))
    assert read_hello(encode_hello(hello)) == hello


def test_receipts_are_read_as_they_were_said() -> None:
    (message,) = encode_answers([_receipt(1), _receipt(2)])
    assert read_answer(message) == Answer(receipts=(_receipt(1), _receipt(2)))
    assert [read_answer(message) for message in encode_answers([])] == [Answer()]
    assert read_answer(encode_error("forged")) == Answer(error="forged")


def test_many_receipts_come_in_messages_of_bounded_length() -> None:
    longest = [_receipt(number, "\N{GRINNING FACE}" * 5000) for number in range(3)]
    many = [_receipt(number) for number in range(5000)]
    for receipts in (longest, many):
        messages = list(encode_answers(receipts))
        assert max(map(len, messages)) <= MAX_ANSWER_BYTES
        answers = [read_answer(message) for message in messages]
        assert [answer.has_more for answer in answers] == [True] * (len(answers) - 1) + [False]
        assert [item.decision_id for answer in answers for item in answer.receipts] == [
            item.decision_id for item in receipts
        ]
    assert len(list(encode_answers(many))) < 100


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"challenge":"a","name":"n","capabilities":[{"reach":"moon","acts":[],"ends_by_itself":true}]}',
        b'{"challenge":"a","name":"n","capabilities":3}',
    ],
)
def test_a_strange_hello_is_refused(message: bytes) -> None:
    with pytest.raises(RequestError, match="hello"):
        read_hello(message)


def test_a_strange_answer_is_refused() -> None:
    (whole,) = encode_answers([_receipt(1)])
    for strange in (
        b"[]",
        b"{}",
        whole[:-1],
        whole.replace(b'"packet_count":1', b'"packet_count":-1'),
        whole.replace(b'"packet_count":1', b'"packet_count":true'),
        whole.replace(b"+00:00", b""),
        whole.replace(b"applied", b"unheard", 2),
        b"x" * 20_000,
    ):
        with pytest.raises(RequestError, match="answer"):
            read_answer(strange)
