"""Allowed domains are looked up beside the traffic, and an address that was right stays so for a while."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

from thingwarden.serve.allowed_names import AllowedNames, look_up


def until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()


def test_addresses_of_every_round_are_kept() -> None:
    rounds = iter([["192.0.2.1", "2001:db8::1%eth0"], ["192.0.2.2"], []])
    names = AllowedNames(["example.org"], lambda domain: next(rounds, []), refresh_s=0.01)
    assert until(lambda: len(names.addresses()) == 3)
    assert ipaddress.ip_address("2001:db8::1") in names.addresses()
    names.close()


def test_a_resolver_that_does_not_answer_keeps_nobody_waiting() -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(domain: str) -> list[str]:
        asked.set()
        answered.wait(10)
        return ["192.0.2.1"]

    names = AllowedNames(["example.org"], slow)
    assert asked.wait(10)
    assert names.addresses() == frozenset()
    answered.set()
    assert until(lambda: bool(names.addresses()))
    names.close()


def test_without_domains_nobody_is_asked() -> None:
    names = AllowedNames([], lambda domain: [str(1 / 0)])
    names.close()
    assert names.addresses() == frozenset()


def test_the_machines_resolver_is_asked_and_may_know_nothing() -> None:
    assert "127.0.0.1" in look_up("localhost") or "::1" in look_up("localhost")
    assert look_up("name.invalid") == []
    assert look_up("a" * 300) == []
