"""An enforcer that lives in a process of its own, reached over its unix socket.

In: decisions. Out: receipts; a process that is dead, slow or strange gives ``failed`` ones that say so.
Must never: raise from ``apply`` or ``revoke``, wait longer than its limit, believe a process of another user.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import EnforcementError, RequestError
from thingwarden.domain.order import Order, OrderVerb, seal_order
from thingwarden.domain.response import Capability, Decision, Receipt, ReceiptStatus
from thingwarden.enforce.channel import MAX_ANSWER_BYTES, Hello, read_answer, read_hello
from thingwarden.enforce.dispatch import UNREACHED, join_capabilities

ANSWER_WITHIN_S: Final = 0.05
LIST_WITHIN_S: Final = 2.0
_CREDENTIALS: Final = struct.Struct("3i")
_MAX_DOUBTFUL: Final = 1024


_NOBODY_LISTENS: Final = (FileNotFoundError, ConnectionRefusedError)


class _UnansweredError(Exception):
    """Why there is no answer, and whether the order may have been carried out."""

    def __init__(self, why: str, may_be_done: bool = False) -> None:
        super().__init__(why)
        self.may_be_done = may_be_done


class _GoneError(Exception):
    """The process closed the connection."""


class SocketEnforcer:
    """Gives orders to an enforcer's process and connects again whenever it must.

    An act whose answer did not come in time counts as failed; it is undone before anything else is asked, since it may
    be in force all the same.

    Args:
        path: of the socket.
        key: 32 bytes, shared with the process.
        uid: the user that the process must run as, besides root and our own; None for no other.
        answer_within_s: the longest that ``apply`` and ``revoke`` take, above 0.
        list_within_s: the longest that ``in_force`` and ``release_all`` take, above 0.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        *,
        uid: int | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
        list_within_s: float = LIST_WITHIN_S,
    ) -> None:
        self._path = path
        self._key = key
        self._uids = {0, os.geteuid()} | ({uid} if uid is not None else set())
        self._answer_within_s = answer_within_s
        self._list_within_s = list_within_s
        self._connection: socket.socket | None = None
        self._hello: Hello | None = None
        self._number = 0
        self._doubtful: dict[str, Decision] = {}

    @property
    def name(self) -> str:
        """The process's own name; that of the socket until it was reached."""
        hello = self._greeting()
        return hello.name if hello else f"enforcer at {self._path.name}"

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the process said that it can do, when it was reached last; nothing until then."""
        hello = self._greeting()
        return hello.capabilities if hello else (UNREACHED,)

    @property
    def capability(self) -> Capability:
        """The same as one."""
        return join_capabilities(self.capabilities)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Order it."""
        return self._order(OrderVerb.APPLY, decision, now)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Order its end."""
        return self._order(OrderVerb.REVOKE, decision, now)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """Ask the process.

        Raises:
            EnforcementError: it is dead, slow, or cannot ask the network.
        """
        try:
            return self._ask(OrderVerb.IN_FORCE, None, now, time.monotonic() + self._list_within_s)
        except _UnansweredError as error:
            raise EnforcementError(self._where, str(error), "is its process running?") from error

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Order the end of everything; one ``failed`` receipt of no decision where the process does not answer."""
        try:
            return self._ask(OrderVerb.RELEASE_ALL, None, now, time.monotonic() + self._list_within_s)
        except _UnansweredError as error:
            return (self._failed("", now, f"it is not known what remains: {error}"),)

    def close(self) -> None:
        """Close the connection; the next order opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    @property
    def _where(self) -> str:
        return f"enforcer at {self._path}"

    def _greeting(self) -> Hello | None:
        """What the process said first, at whatever connection."""
        if self._hello is None:
            try:
                self._connect(time.monotonic() + self._answer_within_s)
            except _UnansweredError:
                self.close()
        return self._hello

    def _order(self, verb: OrderVerb, decision: Decision, now: datetime) -> Receipt:
        if verb is OrderVerb.APPLY and len(self._doubtful) >= _MAX_DOUBTFUL:
            return self._failed(decision.decision_id, now, "too many orders are unanswered")
        try:
            receipts = self._ask(verb, decision, now, time.monotonic() + self._answer_within_s)
        except _UnansweredError as error:
            if verb is OrderVerb.APPLY and error.may_be_done:
                self._doubtful[decision.decision_id] = decision
            return self._failed(decision.decision_id, now, str(error))
        return receipts[0] if receipts else self._failed(decision.decision_id, now, "the answer held no receipt")

    def _ask(self, verb: OrderVerb, decision: Decision | None, now: datetime, deadline_s: float) -> tuple[Receipt, ...]:
        """Order, once more on a new connection where the process went away; the same order twice does no harm."""
        try:
            if self._connection is not None:
                with suppress(_GoneError):
                    return self._exchange(verb, decision, now, deadline_s)
            self._connect(deadline_s)
            self._undo_doubtful(now, deadline_s)
            return self._exchange(verb, decision, now, deadline_s)
        except _GoneError as error:
            self.close()
            raise _UnansweredError(f"{self._where} went away: {error}", may_be_done=True) from error
        except _UnansweredError:
            self.close()
            raise

    def _connect(self, deadline_s: float) -> None:
        self.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection = connection
        try:
            connection.settimeout(_left_s(deadline_s))
            connection.connect(str(self._path))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError as error:
            why = "its process does not run" if isinstance(error, _NOBODY_LISTENS) else error.strerror or str(error)
            raise _UnansweredError(f"{self._where} cannot be reached: {why}") from error
        uid = _CREDENTIALS.unpack(credentials)[1]
        if uid not in self._uids:
            raise _UnansweredError(f"{self._where} is user {uid}'s, and was told nothing")
        try:
            self._hello = read_hello(self._receive(deadline_s))
        except (_GoneError, RequestError) as error:
            raise _UnansweredError(f"{self._where} closed the connection at once; may this user connect?") from error
        self._number = 0

    def _undo_doubtful(self, now: datetime, deadline_s: float) -> None:
        for decision in list(self._doubtful.values()):
            if decision.expires_at > now:
                self._exchange(OrderVerb.REVOKE, decision, now, deadline_s)
            del self._doubtful[decision.decision_id]

    def _exchange(
        self, verb: OrderVerb, decision: Decision | None, now: datetime, deadline_s: float
    ) -> tuple[Receipt, ...]:
        assert self._connection is not None and self._hello is not None
        self._number += 1
        order = Order(verb=verb, decision=decision, challenge=self._hello.challenge, number=self._number)
        try:
            self._connection.settimeout(_left_s(deadline_s))
            self._connection.send(seal_order(order, self._key))
        except TimeoutError as error:
            raise _UnansweredError(f"{self._where} does not take orders within its time limit") from error
        except OSError as error:
            raise _GoneError(error.strerror or str(error)) from error
        receipts: list[Receipt] = []
        while True:
            try:
                answer = read_answer(self._receive(deadline_s))
            except RequestError as error:
                raise _UnansweredError(f"{self._where} answered strangely: {error}", may_be_done=True) from error
            if answer.error:
                raise _UnansweredError(f"{self._where} did not carry it out: {answer.error}")
            receipts += (replace(receipt, at=now) for receipt in answer.receipts)
            if not answer.has_more:
                return tuple(receipts)

    def _receive(self, deadline_s: float) -> bytes:
        assert self._connection is not None
        try:
            self._connection.settimeout(_left_s(deadline_s))
            message = self._connection.recv(MAX_ANSWER_BYTES + 1)
        except TimeoutError as error:
            raise _UnansweredError(f"{self._where} did not answer within its time limit", may_be_done=True) from error
        except OSError as error:
            raise _GoneError(error.strerror or str(error)) from error
        if not message:
            raise _GoneError("it closed the connection")
        return message

    def _failed(self, decision_id: str, now: datetime, detail: str) -> Receipt:
        return Receipt(decision_id=decision_id, enforcer=self.name, status=ReceiptStatus.FAILED, at=now, detail=detail)


def _left_s(deadline_s: float) -> float:
    """Seconds until the deadline; never 0, which would mean not to wait at all."""
    return max(deadline_s - time.monotonic(), 0.0001)
