"""Attacks: what hostile hosts and infected devices do, each bounded in time and count, harmless in what it carries.

In: nothing. Out: ``ATTACKS``.
Must never: transport anything but random bytes and published factory passwords.
"""

from __future__ import annotations

from typing import Any, Final

from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks.broker import BROKER_ABUSES
from thingwarden.lab.behaviour.attacks.control import CONTROLS
from thingwarden.lab.behaviour.attacks.download import DOWNLOADS
from thingwarden.lab.behaviour.attacks.exfiltration import EXFILTRATIONS
from thingwarden.lab.behaviour.attacks.exploit import EXPLOITS
from thingwarden.lab.behaviour.attacks.flood import FLOODS
from thingwarden.lab.behaviour.attacks.guess import GUESSES
from thingwarden.lab.behaviour.attacks.industrial import INDUSTRIAL
from thingwarden.lab.behaviour.attacks.invented import INVENTED
from thingwarden.lab.behaviour.attacks.mitm import MITM
from thingwarden.lab.behaviour.attacks.scan import SCANS
from thingwarden.lab.behaviour.attacks.tunnel import TUNNELS
from thingwarden.lab.behaviour.attacks.worm import WORMS

ATTACKS: Final[dict[str, ActKind[Any]]] = {
    **SCANS,
    **GUESSES,
    **DOWNLOADS,
    **CONTROLS,
    **TUNNELS,
    **EXFILTRATIONS,
    **FLOODS,
    **BROKER_ABUSES,
    **MITM,
    **INDUSTRIAL,
    **EXPLOITS,
    **WORMS,
    **INVENTED,
}
"""By name, as recipes and the catalogue of acts know them."""
