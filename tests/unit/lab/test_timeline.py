"""One line for people about each kind of action."""

from __future__ import annotations

import pytest

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.timeline import Action, Cut, Perform, Planned, PowerOff, PowerOn, Restore, describe


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (Perform(act="scan_ping", host="tv", attack_class=AttackClass.SCAN), "tv: scan_ping (attack, scan; it-1)"),
        (Perform(act="backup", host="nas"), "nas: backup (benign; it-1)"),
        (Cut(target="resolver", mode="refusing"), "resolver: cut, refusing (it-1)"),
        (Restore(target="resolver"), "resolver: works again (it-1)"),
        (PowerOff(host="plug"), "plug: loses its power (it-1)"),
        (PowerOn(host="plug"), "plug: has power (it-1)"),
        (PowerOn(host="plug", address="10.77.0.99"), "plug: has power, now at 10.77.0.99 (it-1)"),
    ],
)
def test_an_action_is_told_in_one_line(action: Action, line: str) -> None:
    assert describe(Planned(at_s=1.0, event="it-1", action=action)) == line
