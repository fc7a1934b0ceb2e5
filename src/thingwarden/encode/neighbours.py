"""Which peers are the gateway, name servers or hosts never heard of, learned from the flows so far.

In: who began a flow, who answered one and on which port. Out: ``PEER_KINDS`` buckets that say so.
Must never: look ahead, need a link-layer address (a log has none), or forget uncounted.

A host of a private or link-local address that answered on the port of DNS or of DHCP is the gateway; any other peer
that answered on the port of DNS is a name server; a host of such an address that neither began nor answered a flow so
far is unknown. Where the source has no time nothing is so far, and the address alone decides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.address import hash_columns, is_private
from thingwarden.encode.vocabulary import PEER_KINDS

KNOWN_LIMIT: Final = 16_384
"""Addresses remembered at most, per kind of knowledge; the oldest quarter goes first."""

DNS_PORT: Final = 53
LEASE_PORT: Final = 67

_GATEWAY, _DNS_SERVER, _UNKNOWN = (PEER_KINDS.index(name) for name in ("gateway", "dns_server", "unknown"))
_IS_NEAR: Final = np.isin(PEER_KINDS, ("same_lan", "private", "link_local"))
_FAR: Final = PEER_KINDS.index("internet")

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Neighbours:
    """What is known of the peers' place in the network."""

    def __init__(self) -> None:
        self._heard = _Known()
        self._serving = _Known()

    @property
    def evicted_count(self) -> int:
        """Addresses forgotten because there were too many."""
        return self._heard.evicted_count + self._serving.evicted_count

    def trim(self) -> None:
        """Bring what is known back under its limit."""
        self._heard.trim()
        self._serving.trim()

    def name(
        self,
        kinds: npt.NDArray[np.uint8],
        peer: npt.NDArray[np.uint64],
        event: Ints,
        *,
        flows: FlowBatch,
        row: Ints,
        is_close: Mask,
        at_s: npt.NDArray[np.float64],
    ) -> None:
        """Refine the kinds of the peers of n words, and learn from the m events that these words belong to.

        Args:
            kinds: uint8 (n,), by address; changed in place where more is known.
            peer: uint64 (n, 2).
            event: (n,), to which of the events each word belongs; only earlier ones count.
            flows: in which ``row`` (m,) names the flow of each event.
            is_close, at_s: (m,), whether the event is the flow's end, and when it is known.
        """
        near, far = _IS_NEAR[kinds], kinds == _FAR
        peer_key = hash_columns(peer[:, 0], peer[:, 1])
        who, when, on_dns, on_lease = _heard_from(flows, row, is_close)
        key = hash_columns(who[:, 0], who[:, 1])
        is_near = is_private(who)
        serves = on_dns | (on_lease & is_near)
        heard = self._heard.before(peer_key[near], event[near], key[is_near], when[is_near], at_s[when[is_near]])
        asked = near | far
        serving = self._serving.before(peer_key[asked], event[asked], key[serves], when[serves], at_s[when[serves]])
        kinds[np.flatnonzero(near)[~heard]] = _UNKNOWN
        server = np.flatnonzero(asked)[serving]
        kinds[server] = np.where(near[server], _GATEWAY, _DNS_SERVER)


def _heard_from(flows: FlowBatch, row: Ints, is_close: Mask) -> tuple[npt.NDArray[np.uint64], Ints, Mask, Mask]:
    """Addresses that spoke, in order; the event of each; whether it answered on the port of DNS, and of DHCP."""
    answered = is_close & ((flows.resp_packets[row] > 0) | (flows.resp_bytes[row] > 0))
    when = np.flatnonzero(~is_close | answered)
    spoke, ended = row[when], is_close[when]
    who = np.where(ended[:, None], flows.resp_address[spoke], flows.orig_address[spoke])
    port, proto = flows.resp_port[spoke], flows.proto[spoke]
    on_dns = ended & (port == DNS_PORT) & ((proto == 6) | (proto == 17))
    return who, when, on_dns, ended & (port == LEASE_PORT) & (proto == 17)


class _Known:
    """A bounded set of keys, each with the instant at which it was last noted."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)  # ascending
        self._last_at_s = np.zeros(0)
        self.evicted_count = 0

    def before(
        self, asked: Keys, asked_event: Ints, noted: Keys, noted_event: Ints, noted_at_s: npt.NDArray[np.float64]
    ) -> Mask:
        """Which keys were noted before the event at which they are asked for; then all of ``noted`` are."""
        known = _is_among(asked, self._keys)
        if len(noted):
            fresh, first = np.unique(noted, return_index=True)  # events ascend, so the first is the earliest
            place = np.minimum(np.searchsorted(fresh, asked), len(fresh) - 1)
            known |= (fresh[place] == asked) & (noted_event[first[place]] < asked_event)
            self._note(noted, noted_at_s, fresh)
        return known

    def trim(self) -> None:
        """Drop the oldest where there are too many."""
        if len(self._keys) <= KNOWN_LIMIT:
            return
        drop_count = len(self._keys) - KNOWN_LIMIT + KNOWN_LIMIT // 4
        kept = np.sort(np.lexsort((self._keys, self._last_at_s))[drop_count:])
        self._keys, self._last_at_s = self._keys[kept], self._last_at_s[kept]
        self.evicted_count += drop_count

    def _note(self, noted: Keys, at_s: npt.NDArray[np.float64], fresh: Keys) -> None:
        missing = fresh[~_is_among(fresh, self._keys)]
        if len(missing):
            place = np.searchsorted(self._keys, missing)
            self._keys = np.insert(self._keys, place, missing)
            self._last_at_s = np.insert(self._last_at_s, place, -np.inf)
        np.maximum.at(self._last_at_s, np.searchsorted(self._keys, noted), at_s)


def _is_among(keys: Keys, ascending: Keys) -> Mask:
    if not len(ascending):
        return np.zeros(len(keys), dtype=np.bool_)
    place = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    among: Mask = ascending[place] == keys
    return among
