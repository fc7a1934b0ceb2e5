"""The socket: who may speak, how much, and that nobody can hold up the others."""

from __future__ import annotations

import resource
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from enforcer_builder import KEY, build_warden, serve
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.order import Order, OrderVerb, seal_order
from thingwarden.enforce.channel import MAX_ORDER_BYTES, Answer, read_answer, read_hello
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.service import MAX_CLIENTS, EnforcerService
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision
from user_without_rights import start_as_nobody


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "enforcer.sock"


@pytest.fixture
def service(tmp_path: Path, path: Path) -> Iterator[EnforcerService]:
    with serve(build_warden(RecordingEnforcer(), tmp_path / "state"), path) as running:
        yield running


def _connect(path: Path) -> tuple[socket.socket, str]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection, read_hello(connection.recv(20_000)).challenge


def _ask(connection: socket.socket, challenge: str, number: int = 1, key: bytes = KEY) -> Answer:
    order = Order(verb=OrderVerb.IN_FORCE, decision=None, challenge=challenge, number=number)
    connection.send(seal_order(order, key))
    return read_answer(connection.recv(20_000))


@pytest.mark.usefixtures("service")
def test_only_owner_and_group_may_connect(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.usefixtures("service")
def test_each_channel_has_its_own_challenge(path: Path) -> None:
    challenges = {_connect(path)[1] for _ in range(4)}
    assert len(challenges) == 4


@pytest.mark.usefixtures("service")
def test_a_forged_order_is_told_and_its_channel_closed(path: Path) -> None:
    connection, challenge = _connect(path)
    assert "its seal is not policy's" in _ask(connection, challenge, key=bytes(32)).error
    assert connection.recv(100) == b""


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("message", [b"x", b"{}", b"x" * (MAX_ORDER_BYTES + 100), b"\xff" * 1000])
def test_garbage_closes_its_own_channel_only(path: Path, message: bytes) -> None:
    good, challenge = _connect(path)
    bad, _ = _connect(path)
    bad.send(message)
    assert read_answer(bad.recv(20_000)).error
    assert bad.recv(100) == b""
    assert _ask(good, challenge) == Answer()


@pytest.mark.usefixtures("service")
def test_silent_channels_are_evicted_before_one_that_proved_itself(path: Path) -> None:
    good, challenge = _connect(path)
    assert _ask(good, challenge) == Answer()
    with ExitStack() as stack:
        silent = [stack.enter_context(_connect(path)[0]) for _ in range(3 * MAX_CLIENTS)]
        assert silent[0].recv(100) == b""
        assert _ask(good, challenge, 2) == Answer()


def test_one_that_takes_no_answers_holds_up_nobody_and_costs_no_memory(tmp_path: Path, path: Path) -> None:
    enforcer = RecordingEnforcer()
    for number in range(3000):
        enforcer.apply(build_decision(decision_id=f"{number:012x}"), ManualClock()())
    with serve(build_warden(enforcer, tmp_path / "state"), path):
        greedy, challenge = _connect(path)
        greedy.setblocking(False)
        sent = 0
        for number in range(1, 10_000):
            order = Order(verb=OrderVerb.IN_FORCE, decision=None, challenge=challenge, number=number)
            try:
                greedy.send(seal_order(order, KEY))
            except BlockingIOError:
                break
            sent = number
        assert 0 < sent < 9_999, "orders were read although their answers were not taken"
        good, challenge = _connect(path)
        before_s = time.monotonic()
        assert _ask(good, challenge).has_more
        assert time.monotonic() - before_s < 1.0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_000_000


def test_a_client_that_never_takes_its_answer_is_dropped(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thingwarden.enforce.service.ANSWER_TAKEN_WITHIN_S", 0.3)
    enforcer = RecordingEnforcer()
    for number in range(5000):
        enforcer.apply(build_decision(decision_id=f"{number:012x}"), ManualClock()())
    with serve(build_warden(enforcer, tmp_path / "state"), path) as service:
        greedy, challenge = _connect(path)
        order = Order(verb=OrderVerb.IN_FORCE, decision=None, challenge=challenge, number=1)
        greedy.send(seal_order(order, KEY))
        deadline_s = time.monotonic() + 5
        while service._clients:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


@pytest.mark.root
def test_a_user_who_is_not_listed_is_closed_out(tmp_path: Path, path: Path) -> None:
    with serve(build_warden(RecordingEnforcer(), tmp_path / "state"), path):
        for folder in (
            tmp_path,
            *(parent for parent in tmp_path.parents if parent.name.startswith(("pytest-", "popen-"))),
        ):
            folder.chmod(0o755)
        path.chmod(0o666)
        script = (
            "import socket, sys\n"
            "connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            f"connection.connect({str(path)!r})\n"
            "print(len(connection.recv(1000)))"
        )
        assert start_as_nobody("-c", script).communicate(timeout=10)[0].strip() == "0"


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    with serve(build_warden(RecordingEnforcer(), tmp_path / "state"), path):
        other = build_warden(RecordingEnforcer(), tmp_path / "other")
        with pytest.raises(ConfigError, match="another enforcer listens there"):
            EnforcerService(other, path)
        assert SocketEnforcer(path, KEY).name == "recording"
    assert not path.exists()


def test_a_socket_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    warden = build_warden(RecordingEnforcer(), tmp_path / "state")
    with pytest.raises(ConfigError, match="missing/enforcer"):
        EnforcerService(warden, tmp_path / "missing" / "enforcer.sock")
