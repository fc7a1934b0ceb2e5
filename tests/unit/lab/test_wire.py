"""What the lab's own protocol code sends and refuses to send."""

from __future__ import annotations

import struct

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.network import require_inside
from thingwarden.lab.wire import SERVERS, connect, exchange, time_answer


def test_every_server_lies_inside_the_lab() -> None:
    for address in SERVERS.values():
        require_inside(address)


def test_sockets_refuse_what_lies_outside() -> None:
    with pytest.raises(RequestError):
        connect("127.0.0.1", 80)
    with pytest.raises(RequestError):
        exchange("8.8.8.8", 53, b"", 0.1)


def test_a_time_answer_echoes_the_request_and_tells_the_time() -> None:
    request = b"\x23" + b"\0" * 39 + b"ABCDEFGH"
    answer = time_answer(request, 1_800_000_000.25)
    assert len(answer) == 48
    assert answer[24:32] == b"ABCDEFGH"
    seconds, fraction = struct.unpack_from(">II", answer, 40)
    assert seconds - 2_208_988_800 == 1_800_000_000
    assert fraction == 2**30
