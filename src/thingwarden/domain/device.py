"""Who a sentence belongs to.

In: link-layer or network addresses, parsed. Out: ``Device``, the cold-path description of one; what devices are for.
Must never: be created per packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from thingwarden.domain.address import IpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A host of the network under watch, known by its MAC or, on routed networks, by its address.

    Attributes:
        index: position in the encoder's device table; 0 is the unattributed rest.
        mac: ``aa:bb:cc:dd:ee:ff``, or None where the source has no link layer.
        address: the address first seen with it; None only for the unattributed rest.
    """

    index: int
    mac: str | None
    address: IpAddress | None

    @property
    def name(self) -> str:
        """What people see: the address, else the MAC, else ``unattributed``."""
        return str(self.address or self.mac or "unattributed")


class DeviceRole(Enum):
    """What a device is for, as the operator says; the value is the wire name."""

    CAMERA = "camera"
    SPEAKER = "speaker"
    SENSOR = "sensor"
    PLUG = "plug"
    LIGHT = "light"
    HUB = "hub"
    TELEVISION = "television"
    PRINTER = "printer"
    APPLIANCE = "appliance"
    COMPUTER = "computer"
    PHONE = "phone"
    SERVER = "server"
    LOCK = "lock"
    ALARM = "alarm"
    MEDICAL = "medical"
    PLC = "plc"
    OTHER = "other"


CRITICAL_ROLES: Final = frozenset({DeviceRole.LOCK, DeviceRole.ALARM, DeviceRole.MEDICAL, DeviceRole.PLC})
"""Somebody may come to harm where one of these is cut off."""
