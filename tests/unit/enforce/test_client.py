"""An enforcer behind a socket: dead, slow, strange or restarted, it never raises from an act and never waits long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from enforcer_builder import KEY, build_warden, serve
from thingwarden.domain.errors import EnforcementError
from thingwarden.domain.response import ACTS_WITHIN, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.channel import Hello, encode_hello
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision

NOW = ManualClock()()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "enforcer.sock"


@contextmanager
def _impostor(path: Path, speak: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody else who listens there, for one connection after another."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(0.1)
    ended = threading.Event()

    def answer() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                speak(connection)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)
        listener.close()


def _hello() -> bytes:
    capability = Capability(reach=Reach.GATEWAY, acts=ACTS_WITHIN[Reach.GATEWAY], ends_by_itself=True)
    return encode_hello(Hello(challenge="00" * 16, name="impostor", capabilities=(capability,)))


def test_it_speaks_for_the_process(tmp_path: Path, path: Path) -> None:
    with serve(build_warden(RecordingEnforcer(), tmp_path / "state"), path):
        enforcer = SocketEnforcer(path, KEY)
        assert enforcer.capability == RecordingEnforcer.capability
        assert enforcer.name == "recording"
        assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.APPLIED
        enforcer.close()


def test_a_dead_process_gives_failed_receipts_that_say_so(path: Path) -> None:
    enforcer = SocketEnforcer(path, KEY)
    for receipt in (enforcer.apply(build_decision(), NOW), enforcer.revoke(build_decision(), NOW)):
        assert (receipt.status, receipt.at) == (ReceiptStatus.FAILED, NOW)
        assert "its process does not run" in receipt.detail
    (receipt,) = enforcer.release_all(NOW)
    assert receipt.status is ReceiptStatus.FAILED
    assert "not known what remains" in receipt.detail
    with pytest.raises(EnforcementError, match="does not run"):
        enforcer.in_force(NOW)
    assert enforcer.capability.acts == frozenset()


def test_a_restarted_process_is_reached_again(tmp_path: Path, path: Path) -> None:
    enforcer = SocketEnforcer(path, KEY)
    for number in range(3):
        with serve(build_warden(RecordingEnforcer(), tmp_path / str(number)), path):
            assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.APPLIED
    assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.FAILED
    assert enforcer.name == "recording"


def test_another_key_is_refused_and_said(tmp_path: Path, path: Path) -> None:
    recording = RecordingEnforcer()
    with serve(build_warden(recording, tmp_path / "state"), path):
        receipt = SocketEnforcer(path, bytes(32)).apply(build_decision(), NOW)
    assert receipt.status is ReceiptStatus.FAILED
    assert "its seal is not policy's" in receipt.detail
    assert recording.applied == []


@pytest.mark.parametrize("says_hello", [False, True])
def test_a_silent_process_costs_no_more_than_the_limit(path: Path, says_hello: bool) -> None:
    def speak(connection: socket.socket) -> None:
        if says_hello:
            connection.send(_hello())
        time.sleep(0.3)

    with _impostor(path, speak):
        enforcer = SocketEnforcer(path, KEY)
        before_s = time.monotonic()
        receipt = enforcer.apply(build_decision(), NOW)
        assert time.monotonic() - before_s < 0.15
    assert receipt.status is ReceiptStatus.FAILED
    assert "within its time limit" in receipt.detail


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"x" * 16_000, b'{"receipts":[],"has_more":false}'])
def test_a_strange_answer_is_a_failed_receipt(path: Path, answer: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.send(_hello())
        if connection.recv(20_000):
            connection.send(answer)
            connection.recv(20_000)

    with _impostor(path, speak):
        enforcer = SocketEnforcer(path, KEY)
        assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.FAILED
        enforcer.close()


def test_a_strange_greeting_is_a_failed_receipt(path: Path) -> None:
    with _impostor(path, lambda connection: connection.send(b"220 smtp ready") and None):
        assert "closed the connection at once" in SocketEnforcer(path, KEY).apply(build_decision(), NOW).detail


class _SlowOnce(RecordingEnforcer):
    """Takes its time with the first act, and so answers too late."""

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        if not self.applied:
            time.sleep(0.2)
        return super().apply(decision, now)


def test_an_act_whose_answer_came_too_late_is_undone_before_anything_else(tmp_path: Path, path: Path) -> None:
    slow = _SlowOnce()
    with serve(build_warden(slow, tmp_path / "state"), path):
        enforcer = SocketEnforcer(path, KEY)
        assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.FAILED
        time.sleep(0.3)
        assert [item.decision_id for item in slow.in_force(NOW)] == [build_decision().decision_id]
        assert enforcer.in_force(NOW) == ()
        assert slow.revoked == [build_decision()]
        other = replace(build_decision(), decision_id="00000000000b", expires_at=NOW + timedelta(seconds=50))
        assert enforcer.apply(other, NOW).status is ReceiptStatus.APPLIED


def test_thousands_of_acts_are_listed_whole(tmp_path: Path, path: Path) -> None:
    recording = RecordingEnforcer()
    for number in range(5000):
        recording.apply(build_decision(decision_id=f"{number:012x}"), NOW)
    with serve(build_warden(recording, tmp_path / "state"), path):
        enforcer = SocketEnforcer(path, KEY)
        assert len(enforcer.in_force(NOW)) == 5000
        assert len(enforcer.release_all(NOW)) == 5000
        assert enforcer.in_force(NOW) == ()
