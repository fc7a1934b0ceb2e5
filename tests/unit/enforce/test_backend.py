"""Kinds of enforcers, each made from options alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver_builder import write_secret
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Reach
from thingwarden.enforce.backend import BACKENDS, build_backend
from thingwarden.enforce.leases import Lease, LeaseFolder
from thingwarden.enforce.undo import UNDOERS
from thingwarden.testing import ManualClock


def test_a_dry_run_stands_where_it_is_told(tmp_path: Path) -> None:
    enforcer = build_backend("dry-run", {"reach": "mirror"}, LeaseFolder(str(tmp_path)))
    assert enforcer.capability.reach is Reach.MIRROR
    with pytest.raises(ConfigError, match="reach"):
        build_backend("dry-run", {"reach": "moon"}, LeaseFolder(str(tmp_path)))


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        build_backend("abacus", {}, LeaseFolder(str(tmp_path)))


def test_what_is_leased_takes_over_the_leases_of_its_own_kind(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    ends_at_s = ManualClock()().timestamp() + 60
    for number, kind in enumerate(("webhook", "other")):
        folder.add(Lease(f"{number:012x}", kind, "boot", 1.0, ends_at_s, {}))
    options = {"url": "http://localhost:1/", "secret": str(write_secret(tmp_path)), "acts": ["isolate"]}
    enforcer = build_backend("webhook", options, folder)
    assert [item.decision_id for item in enforcer.in_force(ManualClock()())] == [f"{0:012x}"]
    assert not enforcer.capability.ends_by_itself


def test_whatever_is_leased_can_be_undone() -> None:
    assert {kind for kind, backend in BACKENDS.items() if backend.is_leased} == set(UNDOERS)
