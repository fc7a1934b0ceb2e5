"""What was decided about single flows: columns for all of them, objects for the few that are evidence.

In: scores, already calibrated. Out: ``FlowVerdicts`` (columns) and ``Detection`` (one flow of an incident).
Must never: say more about a flow than its words could know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress
from thingwarden.domain.taxonomy import AttackClass


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowVerdicts:
    """The judgement of every flow of a ``FlowBatch``, as columns of equal length n.

    Attributes:
        malicious_probability: float32 (n,), calibrated; NaN where no closing word was scored.
        is_malicious: bool (n,), evidence of an incident; without time, the probability is above the threshold.
        attack_class: int8 (n,), index into ``taxonomy.CLASSES``: the likeliest attack where malicious, else 0.
        ton_class: int8 (n,), index into ``taxonomy.TON_CLASSES``: the likeliest; -1 where not scored.
        device: int32 (n,), the device whose word was the most suspicious; -1 where not scored.
        role: int8 (n,), index into ``word.ROLES``: what that device was in the flow; quiet where benign.
        surprise_nats: float32 (n,), of that word; NaN where not scored.
    """

    malicious_probability: npt.NDArray[np.float32]
    is_malicious: npt.NDArray[np.bool_]
    attack_class: npt.NDArray[np.int8]
    ton_class: npt.NDArray[np.int8]
    device: npt.NDArray[np.int32]
    role: npt.NDArray[np.int8]
    surprise_nats: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.malicious_probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One flow that speaks against a device.

    Attributes:
        flow: row in the batch that was judged.
        started_at: aware UTC.
        proto: ``tcp``, ``udp``, ``icmp`` or the IANA number as text.
        is_outbound: whether the device began the flow.
        peer: the other side.
        port: the responder's port.
        service: application protocol in Zeek's names, None unknown.
        conn_state: Zeek's state, None while the flow is open or unknown.
        sent_bytes, received_bytes: payload as the device sees it; None while open or unknown.
        probability: calibrated probability that the flow is malicious, 0 to 1.
        attack_class: the likeliest attack.
    """

    flow: int
    started_at: datetime
    proto: str
    is_outbound: bool
    peer: IpAddress
    port: int
    service: str | None
    conn_state: str | None
    sent_bytes: int | None
    received_bytes: int | None
    probability: float
    attack_class: AttackClass
