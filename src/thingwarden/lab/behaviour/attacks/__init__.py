"""Attacks: what hostile hosts and infected devices do, each bounded in time and count, harmless in what it carries.

In: nothing. Out: ``ATTACKS``.
Must never: transport anything but random bytes and published factory passwords.
"""

from __future__ import annotations

from typing import Any, Final

from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks.guess import GUESSES
from thingwarden.lab.behaviour.attacks.scan import SCANS

ATTACKS: Final[dict[str, ActKind[Any]]] = {**SCANS, **GUESSES}
"""By name, as recipes and the catalogue of acts know them."""
