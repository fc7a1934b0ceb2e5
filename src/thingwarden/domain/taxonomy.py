"""The names of what can be wrong, and how each public dataset's labels map to them.

In: raw labels of IoT-23, TON_IoT, lan-mixed and the lab. Out: indices into ``CLASSES`` and ``TON_CLASSES``.
Must never: map a label by the file that it came from.
Sources: IoT-23 (doi 10.5281/zenodo.4743746), TON_IoT (UNSW Canberra), MITRE ATT&CK for the technique ids.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class AttackClass(Enum):
    """What a flow shows, by observable behaviour; the value is the wire name."""

    BENIGN = "benign"
    SCAN = "scan"
    BRUTE_FORCE = "brute_force"
    DOS = "dos"
    DDOS = "ddos"
    C2 = "c2"
    DOWNLOAD = "download"
    EXPLOIT = "exploit"
    MITM = "mitm"
    LATERAL = "lateral"
    EXFILTRATION = "exfiltration"
    UNKNOWN = "unknown"
    UNREACHABLE_PEER = "unreachable_peer"


CLASSES: Final[tuple[AttackClass, ...]] = tuple(one for one in AttackClass if one is not AttackClass.UNREACHABLE_PEER)
"""Order of the class head's outputs; an artifact states it and a mismatch is refused.

No flow shows an unreachable peer: that a contact is never answered is known of an incident as a whole.
"""

CLASS_INDEX: Final[dict[AttackClass, int]] = {attack_class: index for index, attack_class in enumerate(CLASSES)}

TON_CLASSES: Final = (
    "normal", "backdoor", "ddos", "dos", "injection", "mitm", "password", "ransomware", "scanning", "xss",
)  # fmt: skip
"""TON_IoT's ten types, for the head that speaks the literature's protocol."""

TECHNIQUES: Final[dict[AttackClass, tuple[str, ...]]] = {
    AttackClass.SCAN: ("T1046", "T1595.001"),
    AttackClass.BRUTE_FORCE: ("T1110.001",),
    AttackClass.DOS: ("T1499",),
    AttackClass.DDOS: ("T1498.001",),
    AttackClass.C2: ("T1071",),
    AttackClass.DOWNLOAD: ("T1105",),
    AttackClass.EXPLOIT: ("T1190",),
    AttackClass.MITM: ("T1557",),
    AttackClass.LATERAL: ("T1210",),
    AttackClass.EXFILTRATION: ("T1041",),
}
"""MITRE ATT&CK technique ids by class; benign and unknown have none."""

_TON_TO_CLASS: Final = {
    "normal": AttackClass.BENIGN,
    "backdoor": AttackClass.C2,
    "ddos": AttackClass.DDOS,
    "dos": AttackClass.DOS,
    "injection": AttackClass.EXPLOIT,
    "mitm": AttackClass.MITM,
    "password": AttackClass.BRUTE_FORCE,
    "ransomware": AttackClass.LATERAL,
    "scanning": AttackClass.SCAN,
    "xss": AttackClass.EXPLOIT,
}


def class_from_ton(ton_class: str) -> AttackClass:
    """Map one of TON_IoT's types to the product's taxonomy; an unknown type is ``UNKNOWN``."""
    return _TON_TO_CLASS.get(ton_class.strip().lower(), AttackClass.UNKNOWN)


def class_from_detail(is_malicious: bool, detail: str) -> AttackClass:
    """Map a detailed label to the taxonomy by what the flow shows.

    Args:
        is_malicious: the row's binary label.
        detail: Stratosphere's (IoT-23, lan-mixed), such as ``C&C-HeartBeat``, compound ones going by their last act;
            or the lab's, which names the class itself: ``brute_force:guess_ssh-1``.
    """
    if not is_malicious:
        return AttackClass.BENIGN
    name = detail.strip().lower()
    own_class, separator, _ = name.partition(":")
    if separator and own_class in _CLASS_OF_VALUE:
        return _CLASS_OF_VALUE[own_class]
    for fragment, attack_class in _DETAIL_FRAGMENTS:
        if fragment in name:
            return attack_class
    return AttackClass.UNKNOWN


_CLASS_OF_VALUE: Final = {attack_class.value: attack_class for attack_class in AttackClass}

_DETAIL_FRAGMENTS: Final = (
    ("filedownload", AttackClass.DOWNLOAD),
    ("ddos", AttackClass.DDOS),
    ("portscan", AttackClass.SCAN),
    ("okiru", AttackClass.SCAN),
    ("external-attack", AttackClass.SCAN),
    ("scan", AttackClass.SCAN),
    ("c&c", AttackClass.C2),
    ("attack", AttackClass.BRUTE_FORCE),
)
"""First match wins. Okiru's rows are its telnet scan; a bare ``Attack`` is mostly credential guessing."""
