"""Look before the leap: what an act would have cut of what was harmless lately.

In: an act, its incident, ``TrafficMemory``. Out: ``Cost``.
Must never: count the incident's own time as harmless.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress, plain_address
from thingwarden.domain.incident import Contact, Incident
from thingwarden.domain.plan import PORTED, PROTOCOL_NUMBERS
from thingwarden.domain.response import Act, Cost, Target
from thingwarden.respond.cut import Ends, cut_by, involves
from thingwarden.respond.memory import Remembered, TrafficMemory

MOST_SERVICES: Final = 3
_PROTO_NAMES: Final = {number: name for name, number in PROTOCOL_NUMBERS.items()}


def estimate_cost(
    act: Act, target: Target, incident: Incident, memory: TrafficMemory, spared: frozenset[IpAddress] = frozenset()
) -> Cost | None:
    """What an act would have cut.

    Args:
        act, target: what is proposed.
        incident: that it answers.
        memory: of harmless flows.
        spared: hosts that a quarantined device goes on to reach.

    Returns:
        None for a notification, and where nothing is remembered of the time before the incident.
    """
    remembered = None if act is Act.NOTIFY else memory.before(incident.first_seen_at.timestamp())
    return None if remembered is None else _cost(act, target, incident, remembered, spared)


def harmful_count(act: Act, target: Target, incident: Incident) -> int:
    """Flows of the incident's evidence that an act touches; of those told apart."""
    if act in (Act.QUARANTINE, Act.ISOLATE):
        return incident.flow_count
    return sum(contact.flow_count for contact in incident.contacts if touches(target, contact))


def touches(target: Target, contact: Contact) -> bool:
    """Whether an act on a target that names a peer or a service touches a contact of the evidence."""
    return (
        (target.peer is None or plain_address(target.peer) == plain_address(contact.peer))
        and (target.proto is None or target.proto == contact.proto)
        and (target.port is None or target.port == contact.port)
        and (target.device is None or target.is_inbound is not contact.is_outbound)
    )


def _cost(act: Act, target: Target, incident: Incident, remembered: Remembered, spared: frozenset[IpAddress]) -> Cost:
    is_cut = cut_by(act, target, remembered.ends, spared)
    is_own = involves(incident.device, remembered.ends)
    counts = np.ceil(remembered.flow_count).astype(np.int64)
    return Cost(
        over_s=remembered.over_s,
        harmful_flow_count=harmful_count(act, target, incident),
        harmless_flow_count=int(counts[is_cut & is_own].sum()),
        others_flow_count=int(counts[is_cut & ~is_own].sum()),
        services=_services(remembered.ends, np.flatnonzero(is_cut & (counts > 0)), counts),
    )


def _services(ends: Ends, rows: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    found: Counter[str] = Counter()
    for row in rows.tolist():
        number, port = int(ends.proto[row]), int(ends.resp_port[row])
        name = _PROTO_NAMES.get(number, "other")
        found[f"{name}/{port}" if name in PORTED else name] += int(counts[row])
    return tuple(name for name, _ in found.most_common(MOST_SERVICES))
