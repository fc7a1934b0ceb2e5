"""Watches who claims which address on the link, and tells where two hosts claim the same.

In: ``LinkBatch``, chunk after chunk. Out: ``LinkFinding``.
Must never: grow with what is said, depend on how it was cut into chunks, or take a word of it for true: a finding says
who claimed what how often, never whose address it is.
Source: RFC 5227 for how honest hosts behave when an address is claimed twice.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias, TypeVar

import numpy as np

from thingwarden.domain.link_layer import LINK_COLUMNS, LinkBatch, LinkKind

SILENCE_S: Final = 300.0
"""Whoever has not claimed an address for so long has left it: leases end, devices draw new MACs."""

TURNS: Final = 4
"""Changes between two claimants within ``SILENCE_S`` that make a dispute. A router that fails over and back, or a
device that roams to an extender and back, makes two."""

INSISTENCE: Final = 6
INSISTENCE_GAP_S: Final = 15.0
"""Claims that nobody asked for, in so many different seconds, none longer than this after the last. A host that boots
or takes over announces itself a few times and is done; one that defends its address speaks every ten seconds, and then
so does the other."""

LASTING_S: Final = 60.0
"""An insistence of this length is told again."""

ASKED_S: Final = 1.0
"""An answer at most this long after a question was asked for; who gets none by then asks again."""

ESTABLISHED_S: Final = 60.0
"""A server or router known for so long is not the newcomer."""

TOLD_AGAIN_S: Final = 3600.0
"""The same finding is told once in so long."""

MAX_ADDRESSES: Final = 4096
MAX_CLAIMANTS: Final = 4
MAX_ASKERS: Final = 32
MAX_SERVERS: Final = 16
MAX_CONTESTS: Final = 64
MAX_SUSPECTS: Final = 256
MAX_PER_S: Final = 512
"""Different statements looked at in one second; what a flood says beyond is counted."""
MAX_FINDINGS: Final = 1024

STEP_BACK_S: Final = 60.0
"""Time that steps back further begins another recording, of which nothing is known yet."""

_VIRTUAL_PREFIXES: Final = (
    (0x00005E0001, 8),
    (0x00005E0002, 8),
    (0x00000C07AC, 8),
    (0x00000C9FF, 12),
    (0x0007B400, 16),
)
"""Leading bits, and how many follow them: VRRP and CARP for IPv4 and IPv6, HSRP 1 and 2, GLBP. Such MACs are meant to
move between routers."""

_NOBODY: Final = (0, 0)

AddressKey = tuple[int, int, int]
"""Segment, and the address's high and low half."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class FindingKind(Enum):
    """What was seen; the value is the wire name."""

    TURNS = "turns"
    """Two hosts claim one address in turns."""
    INSISTS = "insists"
    """A host claims an address again and again unasked, and another goes on claiming it."""
    INSISTS_LONG = "insists_long"
    """The same for a minute and more."""
    SEVERAL = "several"
    """A host claims several addresses that others claim too."""
    SECOND_DHCP_SERVER = "second_dhcp_server"
    SECOND_ROUTER = "second_router"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFinding:
    """Something seen on the link that speaks against a host.

    Attributes:
        at_s: Unix seconds at which it was seen.
        kind: what.
        suspect_mac: who claims; where two dispute, the one that insists, claims more, or came later.
        rival_mac: who claimed the same before or besides; the known server or router.
        address: uint64 halves, what is claimed.
        is_gateway: whether hosts were told to use that address as their way out, or ask for it more than for any other.
        address_count: how many addresses the suspect disputes with others.
    """

    at_s: float
    kind: FindingKind
    suspect_mac: int
    rival_mac: int
    address: tuple[int, int]
    is_gateway: bool
    address_count: int


@dataclass(slots=True)
class _Claimant:
    """A host that claims an address; ``insistence`` counts its unasked claims in a row, since ``insists_since_s``."""

    mac: int
    sender_mac: int
    first_at_s: float
    last_at_s: float
    insistence: int = 0
    insists_since_s: float = 0.0
    insisted_at_s: float = -np.inf

    def insist(self, at_s: float, sender_mac: int) -> None:
        """Note a claim that nobody asked for."""
        if at_s - self.insisted_at_s > INSISTENCE_GAP_S:
            self.insistence, self.insists_since_s = 0, at_s
        self.insistence += 1
        self.insisted_at_s, self.sender_mac = at_s, sender_mac

    def insistence_at(self, at_s: float) -> int:
        """Its unasked claims in a row, if that still goes on."""
        return self.insistence if at_s - self.insisted_at_s <= INSISTENCE_GAP_S else 0


@dataclass(slots=True)
class _Claimed:
    """What is known of one address: who claims it, who claimed it last, when that changed."""

    claimants: dict[int, _Claimant] = field(default_factory=dict)
    holder: int = 0
    turned_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=TURNS))


Asked: TypeAlias = OrderedDict[tuple[int, int], float]
"""Who asked for an address, and when last; zeros for those who did not say who they are."""


@dataclass(slots=True)
class _Server:
    address: tuple[int, int]
    first_at_s: float
    last_at_s: float


@dataclass(frozen=True, slots=True)
class _Statement:
    at_s: float
    kind: LinkKind
    segment: int
    address: tuple[int, int]
    mac: int
    sender_mac: int
    asked: tuple[int, int]


class LinkWatch:
    """Remembers the claims of one network, within bounds."""

    def __init__(self) -> None:
        self._findings: list[LinkFinding] = []
        self._counts: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        self._claimed: OrderedDict[AddressKey, _Claimed] = OrderedDict()
        self._asked: OrderedDict[AddressKey, Asked] = OrderedDict()
        self._most_askers: dict[int, int] = {}
        self._gateways: OrderedDict[AddressKey, None] = OrderedDict()
        self._servers: OrderedDict[tuple[LinkKind, int], OrderedDict[int, _Server]] = OrderedDict()
        self._contests: OrderedDict[int, OrderedDict[AddressKey, float]] = OrderedDict()
        self._told_at_s: OrderedDict[tuple[FindingKind, int, tuple[int, int]], float] = OrderedDict()
        self._second, self._said_in_second = -np.inf, set[tuple[int, ...]]()
        self._now_s = -np.inf

    @property
    def counts(self) -> Mapping[str, int]:
        """What was heard: ``statements``, ``new`` bindings, ``changed`` holders, ``unasked`` claims, what was
        ``evicted`` from full tables, what was ``passed_over`` in floods."""
        return {name: count for name, count in self._counts.items() if count}

    @property
    def findings(self) -> tuple[LinkFinding, ...]:
        """What was found so far, in the order of what was heard."""
        return tuple(self._findings)

    def observe(self, batch: LinkBatch) -> None:
        """Take in the next statements, in the order of their capture."""
        if len(batch) and float(batch.at_s[0]) < self._now_s - STEP_BACK_S:
            self._begin()
        for statement in self._distinct(batch):
            self._now_s = max(self._now_s, statement.at_s)
            self._hear(statement, self._now_s)

    def _distinct(self, batch: LinkBatch) -> Iterator[_Statement]:
        """The first of each statement in every second, at most ``MAX_PER_S`` of them."""
        second = np.floor(np.maximum.accumulate(batch.at_s))
        words = [second.astype(np.int64)]
        for name, (_, shape) in LINK_COLUMNS.items():
            if name != "at_s":
                column = getattr(batch, name).astype(np.uint64).view(np.int64)
                words += [column[:, part] for part in range(shape[0])] if shape else [column]
        said = np.stack(words, axis=1)  # (n, 9)
        first = np.sort(np.unique(said, axis=0, return_index=True)[1])
        for row, key in zip(first.tolist(), said[first].tolist(), strict=True):
            if self._is_news(key[0], tuple(key[1:])):
                yield _statement(batch, row)

    def _is_news(self, second: int, key: tuple[int, ...]) -> bool:
        if second > self._second:
            self._second = second
            self._said_in_second.clear()
        if key in self._said_in_second:
            return False
        if len(self._said_in_second) >= MAX_PER_S:
            self._counts["passed_over"] += 1
            return False
        self._said_in_second.add(key)
        return True

    def _hear(self, said: _Statement, at_s: float) -> None:
        self._counts["statements"] += 1
        if said.kind is LinkKind.QUESTION and said.asked != _NOBODY:
            self._note_question(said, at_s)
        if said.kind in (LinkKind.DHCP_SERVER, LinkKind.ROUTER):
            self._note_server(said, at_s)
        if said.kind is not LinkKind.DHCP_SERVER and said.address != _NOBODY and not _is_virtual(said.mac):
            self._note_claim(said, at_s)

    def _note_question(self, said: _Statement, at_s: float) -> None:
        key = (said.segment, *said.asked)
        askers = self._asked.setdefault(key, OrderedDict())
        self._asked.move_to_end(key)
        self._bound(self._asked, MAX_ADDRESSES)
        askers[said.address] = at_s
        askers.move_to_end(said.address)
        self._bound(askers, MAX_ASKERS)
        self._most_askers[said.segment] = max(self._most_askers.get(said.segment, 0), len(askers))

    def _is_unasked(self, said: _Statement, at_s: float) -> bool:
        """Whether nobody asked for what is said, or nobody of those to whom it is said."""
        if said.kind is not LinkKind.ANSWER:
            return said.kind is LinkKind.ANNOUNCEMENT
        askers: Mapping[tuple[int, int], float] = self._asked.get((said.segment, *said.address), {})
        last_at_s = max(askers.get(said.asked, -np.inf), askers.get(_NOBODY, -np.inf))
        return at_s - last_at_s > ASKED_S

    def _note_server(self, said: _Statement, at_s: float) -> None:
        """Remember a DHCP server or router; a second one is told where the first is established."""
        named = said.asked if said.kind is LinkKind.DHCP_SERVER else said.address
        if named != _NOBODY:
            self._gateways[said.segment, *named] = None
            self._gateways.move_to_end((said.segment, *named))
            self._bound(self._gateways, MAX_SERVERS)
        known = self._servers.setdefault((said.kind, said.segment), OrderedDict())
        self._bound(self._servers, MAX_SERVERS)
        mine = known.get(said.mac)
        if mine is None and not _is_virtual(said.mac):
            older = [mac for mac, item in known.items() if _is_established(item, said.address, at_s)]
            if older:
                second = (FindingKind.SECOND_ROUTER, FindingKind.SECOND_DHCP_SERVER)
                kind = second[said.kind is LinkKind.DHCP_SERVER]
                self._tell(kind, said.sender_mac, older[0], (said.segment, *said.address), at_s)
        known[said.mac] = _Server(said.address, at_s if mine is None else mine.first_at_s, at_s)
        known.move_to_end(said.mac)
        self._bound(known, MAX_SERVERS)

    def _note_claim(self, said: _Statement, at_s: float) -> None:
        key = (said.segment, *said.address)
        is_unasked = self._is_unasked(said, at_s)
        self._counts["unasked"] += is_unasked
        claimed = self._claimed.setdefault(key, _Claimed())
        self._claimed.move_to_end(key)
        self._bound(self._claimed, MAX_ADDRESSES)
        for mac in [mac for mac, item in claimed.claimants.items() if at_s - item.last_at_s > SILENCE_S]:
            del claimed.claimants[mac]
        self._turn(claimed, said, at_s)
        if is_unasked and at_s - claimed.claimants[said.mac].insisted_at_s >= 1.0:
            claimed.claimants[said.mac].insist(at_s, said.sender_mac)
        if len(claimed.claimants) > 1:
            self._judge(key, claimed, at_s)

    def _turn(self, claimed: _Claimed, said: _Statement, at_s: float) -> None:
        """Note who claims, and whether that is another than before; at most one change in a second."""
        mine = claimed.claimants.get(said.mac)
        if mine is None:
            if len(claimed.claimants) >= MAX_CLAIMANTS:
                del claimed.claimants[min(claimed.claimants.values(), key=lambda item: item.last_at_s).mac]
            mine = claimed.claimants[said.mac] = _Claimant(said.mac, said.sender_mac, at_s, at_s)
            self._counts["new"] += 1
        mine.last_at_s = at_s
        if claimed.holder in (said.mac, 0) or claimed.holder not in claimed.claimants:
            claimed.holder = said.mac
        elif not claimed.turned_at_s or at_s - claimed.turned_at_s[-1] >= 1.0:
            claimed.holder = said.mac
            claimed.turned_at_s.append(at_s)
            self._counts["changed"] += 1

    def _judge(self, key: AddressKey, claimed: _Claimed, at_s: float) -> None:
        """Tell what the claims on one address amount to."""
        turned, insistent = claimed.turned_at_s, _insistent(claimed, at_s)
        is_disputed = len(turned) == TURNS and at_s - turned[0] <= SILENCE_S
        if insistent is None and not is_disputed:
            return
        suspect = insistent or self._likelier(claimed, key, at_s)
        rival = max((item for item in claimed.claimants.values() if item is not suspect), key=lambda r: r.last_at_s)
        if is_disputed:
            self._tell(FindingKind.TURNS, suspect.sender_mac, rival.mac, key, at_s)
        if insistent is not None and rival.last_at_s > suspect.insists_since_s:
            self._tell(FindingKind.INSISTS, suspect.sender_mac, rival.mac, key, at_s)
            if at_s - suspect.insists_since_s >= LASTING_S:
                self._tell(FindingKind.INSISTS_LONG, suspect.sender_mac, rival.mac, key, at_s)
        self._note_contest(suspect.sender_mac, key, at_s)
        if self._contest_count(suspect.sender_mac, at_s) > 1:
            self._tell(FindingKind.SEVERAL, suspect.sender_mac, rival.mac, key, at_s)

    def _likelier(self, claimed: _Claimed, key: AddressKey, at_s: float) -> _Claimant:
        """Of claimants that behave alike, the one that disputes more addresses, then the later comer."""
        return max(
            claimed.claimants.values(),
            key=lambda item: (self._contest_count(item.sender_mac, at_s, key), item.first_at_s, item.mac),
        )

    def _note_contest(self, mac: int, key: AddressKey, at_s: float) -> None:
        contests = self._contests.setdefault(mac, OrderedDict())
        contests[key] = at_s
        contests.move_to_end(key)
        self._bound(contests, MAX_CONTESTS)
        self._contests.move_to_end(mac)
        self._bound(self._contests, MAX_SUSPECTS)

    def _contest_count(self, mac: int, at_s: float, besides: AddressKey | None = None) -> int:
        contests: Mapping[AddressKey, float] = self._contests.get(mac, {})
        return sum(at_s - last_s <= SILENCE_S for key, last_s in contests.items() if key != besides)

    def _is_gateway(self, key: AddressKey) -> bool:
        """Whether the address was named as a gateway, or more hosts ask for it than for any other."""
        if key in self._gateways:
            return True
        most = self._most_askers.get(key[0], 0)
        if most < 2 or len(self._asked.get(key, ())) < most:
            return False
        return sum(len(askers) >= most for other, askers in self._asked.items() if other[0] == key[0]) == 1

    def _tell(self, kind: FindingKind, suspect: int, rival: int, key: AddressKey, at_s: float) -> None:
        address = _NOBODY if kind is FindingKind.SEVERAL else key[1:]
        name = (kind, suspect, address)
        told_at_s = self._told_at_s.get(name)
        if told_at_s is not None and at_s - told_at_s < TOLD_AGAIN_S:
            return
        if len(self._findings) >= MAX_FINDINGS:
            self._counts["passed_over"] += 1
            return
        self._told_at_s[name] = at_s
        self._bound(self._told_at_s, MAX_ADDRESSES)
        finding = LinkFinding(
            at_s=at_s,
            kind=kind,
            suspect_mac=suspect,
            rival_mac=rival,
            address=key[1:],
            is_gateway=self._is_gateway(key),
            address_count=self._contest_count(suspect, at_s),
        )
        self._findings.append(finding)

    def _bound(self, table: dict[_Key, _Value], most: int) -> None:
        """Forget the entry that was touched longest ago where there are more than ``most``."""
        if len(table) > most:
            del table[next(iter(table))]
            self._counts["evicted"] += 1


def _statement(batch: LinkBatch, row: int) -> _Statement:
    address, asked = batch.address[row].tolist(), batch.asked[row].tolist()
    return _Statement(
        at_s=float(batch.at_s[row]),
        kind=LinkKind(int(batch.kind[row])),
        segment=int(batch.segment[row]),
        address=(address[0], address[1]),
        mac=int(batch.mac[row]),
        sender_mac=int(batch.sender_mac[row]),
        asked=(asked[0], asked[1]),
    )


def _insistent(claimed: _Claimed, at_s: float) -> _Claimant | None:
    """Who insists on the address, at least twice as much as any other; hosts that defend theirs insist alike."""
    ranked = sorted(claimed.claimants.values(), key=lambda item: -item.insistence_at(at_s))
    most, next_most = ranked[0].insistence_at(at_s), ranked[1].insistence_at(at_s)
    return ranked[0] if most >= max(INSISTENCE, 2 * next_most) else None


def _is_virtual(mac: int) -> bool:
    return any(mac >> rest_bits == prefix for prefix, rest_bits in _VIRTUAL_PREFIXES)


def _is_established(item: _Server, newcomer: tuple[int, int], at_s: float) -> bool:
    is_known = at_s - item.first_at_s >= ESTABLISHED_S and at_s - item.last_at_s <= TOLD_AGAIN_S
    return is_known and item.address != newcomer
