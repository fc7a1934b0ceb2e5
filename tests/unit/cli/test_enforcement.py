"""What the commands about a response share."""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from pathlib import Path

import click
import pytest

from desk_builder import build_site
from network_builder import own_network
from thingwarden.cli.enforcement import (
    can_ask,
    confirmed,
    every_enforcer,
    learner,
    lifetime_s,
    login_name,
    open_enforcer,
    policy_key,
)
from thingwarden.config import load_settings
from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.domain.response import ReceiptStatus
from thingwarden.enforce.dispatch import EnforcerSet
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.enforce.nftables import NftablesEnforcer
from thingwarden.serve.allowed_names import AllowedNames
from thingwarden.testing import build_decision


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30min", 1800.0), ("5m", 300.0), ("2h", 7200.0), ("7d", 604_800.0)]
)
def test_spans_are_read(text: str, seconds: float) -> None:
    assert lifetime_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "0s", "169h", "1w", "2h30m", "٢h", "9999999999s"])
def test_what_is_no_span_up_to_a_week_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="span"):
        lifetime_s(text)


def test_the_dry_run_is_the_default_and_the_socket_is_taken_where_named(tmp_path: Path) -> None:
    site = build_site(tmp_path, is_enforced=False)
    assert isinstance(open_enforcer(load_settings(site.config).settings), DryRunEnforcer)
    site = build_site(tmp_path)
    assert isinstance(open_enforcer(load_settings(site.config).settings), EnforcerSet)


def test_the_socket_needs_the_key(tmp_path: Path) -> None:
    settings = load_settings(build_site(tmp_path).config).settings
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError, match="key"):
        open_enforcer(settings)
    enforcers, unasked = every_enforcer(settings)
    assert (enforcers, len(unasked)) == ([], 1)


def test_a_panic_asks_nobody_where_nobody_is(tmp_path: Path) -> None:
    settings = load_settings(build_site(tmp_path, is_enforced=False).config).settings
    assert every_enforcer(settings) == ([], [])


def test_a_key_is_made_for_orders_alone(tmp_path: Path) -> None:
    settings = load_settings(build_site(tmp_path).config).settings
    (tmp_path / "key").unlink()
    assert policy_key(settings, is_made=False) is None
    made = policy_key(settings, is_made=True)
    assert made is not None
    assert policy_key(settings, is_made=False) == made


def test_under_sudo_the_caller_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert login_name() == "ada"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert login_name() != "ada"


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    assert login_name() == "user 3999999"


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not can_ask()
    confirmed("Really?", is_yes=True, otherwise="say yes")
    with pytest.raises(RequestError, match="nobody to ask"):
        confirmed("Really?", is_yes=False, otherwise="say yes")


@pytest.mark.root
def test_a_panic_finds_what_a_dead_process_left_in_the_kernel(tmp_path: Path) -> None:
    settings = load_settings(build_site(tmp_path, is_enforced=False).config).settings
    decision = build_decision()
    with own_network():
        assert NftablesEnforcer().apply(decision, decision.decided_at).status is ReceiptStatus.APPLIED
        (firewall,), _ = every_enforcer(settings)
        (released,) = firewall.release_all(decision.decided_at)
        assert (released.decision_id, released.status) == (decision.decision_id, ReceiptStatus.REVOKED)
        assert every_enforcer(settings) == ([], [])


def test_what_this_machine_knows_is_learned_with_what_its_enforcers_can_do(tmp_path: Path) -> None:
    told = learner(DryRunEnforcer())()
    assert ipaddress.ip_address("127.0.0.1") in told.protected_addresses
    assert told.capabilities == (DryRunEnforcer().capability,)
    site = build_site(tmp_path)
    away = open_enforcer(load_settings(site.config, {}).settings)
    assert learner(away)().capabilities is None


def test_where_allowed_domains_are_found_is_learned_with_each_asking() -> None:
    names = AllowedNames(["example.org"], lambda domain: ["192.0.2.7"])
    learn, deadline_s = learner(DryRunEnforcer(), names), time.monotonic() + 10
    while not learn().named_addresses and time.monotonic() < deadline_s:
        time.sleep(0.01)
    names.close()
    assert learn().named_addresses == {ipaddress.ip_address("192.0.2.7")}
