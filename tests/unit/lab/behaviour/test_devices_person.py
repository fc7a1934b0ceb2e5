"""Phones, printers and home servers."""

from __future__ import annotations

import numpy as np

from play_builder import build_hosts, contacts, run_hosts


def test_phone_controls_watches_and_administers_what_opens_its_doors() -> None:
    flows = run_hosts(build_hosts(["phone", "camera", "plug", "hub"]), duration_s=1500.0)
    begun = flows.take(np.flatnonzero(flows.orig_address[:, 1] & 0xFF == 10))
    seen = {(proto, port, service) for proto, port, state, service in contacts(begun) if state in ("SF", "S1")}
    assert {(6, 554, "http"), (6, 23, ""), (6, 9999, ""), (6, 80, "http"), (6, 1883, "mqtt")} <= seen


def test_phone_alone_browses_by_tls_and_by_datagrams() -> None:
    seen = contacts(run_hosts(build_hosts(["phone"]), duration_s=1800.0))
    assert [contact[:2] for contact in seen].count((17, 443)) > 2
    assert sum(contact[1] == 443 and contact[3] == "ssl" for contact in seen) > 10


def test_backup_goes_out_in_bulk() -> None:
    flows = run_hosts(build_hosts(["server"]), duration_s=7200.0)
    assert flows.orig_bytes.max() > 1_000_000


def test_printer_is_found() -> None:
    seen = contacts(run_hosts(build_hosts(["printer"]), duration_s=1800.0))
    assert (17, 5353, "S0", "dns") in seen
