"""Behaviours drawn from a handful of parameters: the variety that a dozen captures do not hold.

In: a random generator. Out: ``Life`` segments, malicious and benign in equal breadth, to be grafted like recorded ones.
Must never: copy a figure of one capture; every range is wide and stated here, and none was fitted.
Source: docs/decisions/0011-sketches.md; ranges span what RFC defaults, timers and tools at hand produce.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.encode.vocabulary import NAMED_PORTS
from thingwarden.train.graft import Life

Rng = np.random.Generator

HISTORIES: Final[dict[str, tuple[bytes, ...]]] = {
    "SF": (b"ShADadFf", b"ShADadfF", b"ShAdDaFf", b"ShADFaf", b"ShAdDafF", b"ShADdaFf"),
    "S1": (b"ShADad", b"ShAdDa", b"ShA"),
    "S2": (b"ShADadF", b"ShADF"),
    "S3": (b"ShADadf", b"ShAdDaf", b"ShAf"),
    "RSTO": (b"ShADadR", b"ShADaFdR", b"ShAdDaFR", b"ShAR"),
    "RSTR": (b"ShADadr", b"ShAdDafr", b"ShADfr", b"ShAr"),
    "REJ": (b"Sr",),
    "S0": (b"S",),
    "SH": (b"SF",),
    "RSTOS0": (b"SR",),
    "OTH": (b"C", b"D", b"Da", b""),
}
"""What Zeek writes for each state of a TCP flow, the common orders of first events."""

DIALOGUE_STATES: Final = ("SF", "SF", "S1", "S3", "RSTO", "RSTR")
LOGIN_PORTS: Final = (21, 22, 23, 80, 445, 1883, 2323, 3389, 5900, 8080)
CLOUD_SERVICES: Final = ((443, b"ssl"), (8883, b"ssl"), (80, b"http"), (1883, b"mqtt"), (5228, b"ssl"), (8080, b"http"))
OWNER: Final = np.array([0, 0xFFFF << 32 | 0xC0A8FE02], dtype=np.uint64)
"""A placeholder for whoever the segment is grafted onto."""

LONGEST_BURST: Final = 2000
"""Flows of a sweep or flood at most: enough for every counter of the word to reach its last bucket."""

_INTERNET: Final = 0xFFFF << 32 | 0x2D000000
_LAN: Final = 0xFFFF << 32 | 0xC0A8FE00


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """n contacts of one behaviour, before they become flows.

    Attributes:
        start_s: float64 (n,), ascending from 0.
        peer: uint64 (n,), low half of the peer's address.
        port: int (n,), the responder's.
        state: names of the outcomes, (n,).
        sent, received: int64 (n,), payload bytes of the one who began and of the one who answered.
        span_s: float64 (n,), duration where there was a dialogue.
        proto: 6 or 17.
        service: of the dialogues.
        inbound: whether the peer began it.
    """

    start_s: npt.NDArray[np.float64]
    peer: npt.NDArray[np.uint64]
    port: npt.NDArray[np.int64]
    state: npt.NDArray[np.str_]
    sent: npt.NDArray[np.int64]
    received: npt.NDArray[np.int64]
    span_s: npt.NDArray[np.float64]
    proto: int = 6
    service: bytes = b""
    inbound: bool = False


def sketch(rng: Rng, *, malicious: bool, absent: Collection[AttackClass] = ()) -> Life:
    """A segment of one behaviour, its first flow at 0 s.

    Args:
        rng: decides which, and how.
        malicious: an attack; a benign behaviour where every attack is absent.
        absent: classes never drawn.
    """
    choices = tuple(choice for choice in (MALICIOUS if malicious else BENIGN) if choice[1] not in absent) or BENIGN
    draw, attack_class = choices[int(rng.integers(len(choices)))]
    flows = _flows(draw(rng), attack_class, rng)
    return Life(name=f"sketch/{attack_class.value}", flows=flows, owner=OWNER, mac=np.uint64(0))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """One draw, uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _count(rng: Rng, low: int, high: int) -> int:
    return int(log_uniform(rng, low, high + 0.99))


def _any_port(rng: Rng, named_share: float = 0.35) -> int:
    return int(rng.choice(NAMED_PORTS) if rng.random() < named_share else rng.integers(1, 65536))


def _outside(rng: Rng, count: int) -> npt.NDArray[np.uint64]:
    return (_INTERNET + rng.integers(1, 2**24, count)).astype(np.uint64)


def _inside(rng: Rng, count: int) -> npt.NDArray[np.uint64]:
    return (_LAN + (rng.integers(3, 250) + np.arange(count)) % 250 + 3).astype(np.uint64)


def _periodic(rng: Rng, count: int, low_s: float, high_s: float) -> npt.NDArray[np.float64]:
    jitter = rng.choice([0.0, 0.02, 0.1, 0.3])
    gaps = log_uniform(rng, low_s, high_s) * np.maximum(0.02, 1.0 + jitter * rng.normal(size=count))
    return np.asarray(np.cumsum(gaps) - gaps[0])


def _poisson(rng: Rng, count: int, low_hz: float, high_hz: float) -> npt.NDArray[np.float64]:
    gaps = rng.exponential(1.0 / log_uniform(rng, low_hz, high_hz), count)
    return np.asarray(np.cumsum(gaps) - gaps[0])


def _sizes(rng: Rng, count: int, low: float, high: float) -> npt.NDArray[np.int64]:
    spread = rng.choice([0.0, 0.05, 0.3, 1.0])
    return np.asarray(log_uniform(rng, low, high) * np.exp(spread * rng.normal(size=count)), dtype=np.int64)


def _mixed(rng: Rng, count: int, names: Sequence[str], shares: npt.ArrayLike) -> npt.NDArray[np.str_]:
    weights = np.asarray(shares, dtype=np.float64)
    return rng.choice(np.asarray(names), count, p=weights / weights.sum())


def _contacts(
    rng: Rng,
    start_s: npt.NDArray[np.float64],
    peer: npt.NDArray[np.uint64],
    port: int | npt.NDArray[np.int64],
    state: npt.NDArray[np.str_],
    sent: tuple[float, float],
    received: tuple[float, float],
    span_s: tuple[float, float],
    **rest: Any,
) -> Contact:
    count = len(start_s)
    return Contact(
        start_s=start_s,
        peer=np.broadcast_to(peer, count),
        port=np.broadcast_to(np.asarray(port, dtype=np.int64), count),
        state=state,
        sent=_sizes(rng, count, *sent),
        received=_sizes(rng, count, *received),
        span_s=log_uniform(rng, *span_s) * np.exp(0.3 * rng.normal(size=count)),
        **rest,
    )


def _beacon(rng: Rng) -> Contact:
    """Regular contact with one peer: answered always, sometimes or never."""
    count = _count(rng, 3, 300)
    answered = float(rng.choice([0.0, 0.3, 0.8, 1.0, 1.0]))
    dialogue, failure = str(rng.choice(DIALOGUE_STATES)), str(rng.choice(["S0", "S0", "REJ"]))
    state = _mixed(rng, count, (dialogue, "SF", failure), (0.9 * answered, 0.1 * answered, 1 - answered))
    service = (b"", b"", b"", b"irc", b"http")[int(rng.integers(5))]
    start_s = _periodic(rng, count, 2.0, 3600.0)
    return _contacts(rng, start_s, _outside(rng, 1), _any_port(rng), state, (1, 600), (1, 600), (0.01, 120.0),
                     service=service)  # fmt: skip


def _sweep(rng: Rng) -> Contact:
    """One service on many hosts."""
    count = _count(rng, 8, LONGEST_BURST)
    peers = _outside(rng, count) if rng.random() < 0.7 else _inside(rng, count)
    shares = (rng.choice([0.98, 0.8, 0.5, 0.1]), rng.choice([0.0, 0.1, 0.6]), rng.choice([0.0, 0.03, 0.2]), 0.01)
    state = _mixed(rng, count, ("S0", "REJ", str(rng.choice(DIALOGUE_STATES)), "RSTOS0"), shares)
    return _contacts(rng, _poisson(rng, count, 0.1, 500.0), peers, _any_port(rng, 0.6), state, (1, 200), (1, 400),
                     (0.01, 10.0), proto=int(rng.choice([6, 6, 6, 17])))  # fmt: skip


def _port_scan(rng: Rng) -> Contact:
    """Many services of one host."""
    count = _count(rng, 8, 400)
    peer = _outside(rng, 1) if rng.random() < 0.4 else _inside(rng, 1)
    ports = rng.permutation(np.concatenate([NAMED_PORTS, rng.integers(1, 65536, count)]))[:count]
    state = _mixed(rng, count, ("S0", "REJ", "SF", "RSTO"), rng.dirichlet((1.0, 1.0, 0.05, 0.05)))
    return _contacts(rng, _poisson(rng, count, 0.2, 1000.0), peer, ports, state, (1, 60), (1, 100), (0.001, 2.0),
                     proto=int(rng.choice([6, 6, 6, 17])))  # fmt: skip


def _guessing(rng: Rng) -> Contact:
    """The same short dialogue with a login service, over and over, on one host or a few."""
    count = _count(rng, 4, 300)
    peers = rng.choice(_outside(rng, 3) if rng.random() < 0.5 else _inside(rng, 3), count)
    peers = peers if rng.random() < 0.4 else np.full(count, peers[0])
    port = int(rng.choice(LOGIN_PORTS)) if rng.random() < 0.8 else _any_port(rng)
    state = _mixed(rng, count, (str(rng.choice(DIALOGUE_STATES)), "SF", "S0", "REJ"), (0.7, 0.2, 0.05, 0.05))
    service = {22: b"ssh", 21: b"ftp", 80: b"http", 8080: b"http", 1883: b"mqtt"}.get(port, b"")
    return _contacts(rng, _poisson(rng, count, 0.05, 20.0), peers, port, state, (15, 2500), (15, 3000), (0.1, 20.0),
                     service=service)  # fmt: skip


def _flood(rng: Rng) -> Contact:
    """More contacts with one host than anything needs."""
    count = _count(rng, 40, LONGEST_BURST)
    proto = int(rng.choice([6, 6, 17]))
    state = _mixed(rng, count, ("S0", "OTH", "REJ", "RSTO", "SF"), rng.dirichlet((1.0, 0.5, 0.3, 0.2, 0.2)))
    port = _any_port(rng, 0.7) if rng.random() < 0.7 else rng.integers(1, 65536, count)
    return _contacts(rng, _poisson(rng, count, 20.0, 5000.0), _outside(rng, 1), port, state, (1, 1400), (1, 1400),
                     (0.001, 30.0), proto=proto)  # fmt: skip


def _exfiltration(rng: Rng) -> Contact:
    """Much goes out to a host never met, little comes back."""
    count = _count(rng, 1, 30)
    state = _mixed(rng, count, ("SF", "S1", "RSTO"), (0.8, 0.1, 0.1))
    service = (b"", b"http", b"ssl", b"ftp-data")[int(rng.integers(4))]
    return _contacts(rng, _poisson(rng, count, 0.003, 1.0), _outside(rng, 1), _any_port(rng), state, (2e5, 5e7),
                     (100, 20000), (1.0, 600.0), service=service)  # fmt: skip


def _tunnel(rng: Rng) -> Contact:
    """Names that carry data: a stream of fat queries to one resolver."""
    count = _count(rng, 30, 400)
    state = _mixed(rng, count, ("SF", "S0"), (0.95, 0.05))
    return _contacts(rng, _poisson(rng, count, 0.2, 50.0), _outside(rng, 1), 53, state, (80, 230), (100, 1200),
                     (0.005, 1.0), proto=17, service=b"dns")  # fmt: skip


def _inbound(draw: Callable[[Rng], Contact]) -> Callable[[Rng], Contact]:
    def drawn(rng: Rng) -> Contact:
        contact = draw(rng)
        peers = _outside(rng, _count(rng, 1, 60))
        columns = {name: getattr(contact, name) for name in Contact.__dataclass_fields__}
        return Contact(**{**columns, "peer": rng.choice(peers, len(contact.start_s)), "inbound": True})

    return drawn


def _poll(rng: Rng) -> Contact:
    """A device and its cloud."""
    count = _count(rng, 2, 200)
    port, service = CLOUD_SERVICES[int(rng.integers(len(CLOUD_SERVICES)))]
    lost = float(rng.choice([0.0, 0.0, 0.02, 0.3]))
    state = _mixed(rng, count, ("SF", str(rng.choice(DIALOGUE_STATES)), "S0"), (0.7 - lost, 0.3, lost))
    peers = rng.choice(_outside(rng, _count(rng, 1, 6)), count)
    start_s = _periodic(rng, count, 1.0, 7200.0) if rng.random() < 0.6 else _poisson(rng, count, 0.0005, 1.0)
    return _contacts(rng, start_s, peers, port, state, (80, 6000), (80, 40000), (0.05, 900.0), service=service)


def _dead_cloud(rng: Rng) -> Contact:
    """A vendor's server that answers no more."""
    count = _count(rng, 3, 120)
    port, service = CLOUD_SERVICES[int(rng.integers(len(CLOUD_SERVICES)))]
    state = _mixed(rng, count, ("S0", "REJ"), (1.0, 0.0) if rng.random() < 0.6 else (0.0, 1.0))
    peers = rng.choice(_outside(rng, _count(rng, 1, 4)), count)
    return _contacts(rng, _periodic(rng, count, 2.0, 1800.0), peers, port, state, (80, 600), (80, 600), (0.05, 5.0),
                     service=service)  # fmt: skip


def _datagrams(rng: Rng) -> Contact:
    """Keep-alives, time and names."""
    count = _count(rng, 3, 200)
    port, service = ((123, b"ntp"), (53, b"dns"), (_any_port(rng), b""), (_any_port(rng), b""))[int(rng.integers(4))]
    lost = float(rng.choice([0.0, 0.0, 0.1, 1.0]))
    state = _mixed(rng, count, ("SF", "S0"), (1 - lost, lost))
    peers = rng.choice(_outside(rng, _count(rng, 1, 24)) if rng.random() < 0.6 else _inside(rng, 1), count)
    start_s = _periodic(rng, count, 1.0, 3600.0) if rng.random() < 0.6 else _poisson(rng, count, 0.001, 2.0)
    return _contacts(rng, start_s, peers, port, state, (30, 300), (30, 500), (0.005, 60.0), proto=17, service=service)


def _download(rng: Rng) -> Contact:
    """An update, a song, a page."""
    count = _count(rng, 1, 25)
    port, service = CLOUD_SERVICES[int(rng.integers(3))]
    state = _mixed(rng, count, ("SF", "RSTO", "S1"), (0.9, 0.05, 0.05))
    return _contacts(rng, _poisson(rng, count, 0.01, 5.0), rng.choice(_outside(rng, 4), count), port, state,
                     (100, 3000), (5e3, 2e7), (0.1, 300.0), service=service)  # fmt: skip


def _upload(rng: Rng) -> Contact:
    """A camera's pictures, a backup."""
    count = _count(rng, 2, 60)
    port, service = CLOUD_SERVICES[int(rng.integers(3))]
    state = _mixed(rng, count, ("SF", "RSTO", "S1"), (0.8, 0.1, 0.1))
    return _contacts(rng, _periodic(rng, count, 5.0, 3600.0), _outside(rng, 1), port, state, (2e4, 2e7), (200, 5000),
                     (0.2, 600.0), service=service)  # fmt: skip


def _hub(rng: Rng) -> Contact:
    """A hub asks its things in turn."""
    count = _count(rng, 4, 200)
    peers = rng.choice(_inside(rng, _count(rng, 1, 12)), count)
    state = _mixed(rng, count, ("SF", "S0", "REJ"), (0.9, 0.05, 0.05))
    service, proto = b"http" if rng.random() < 0.5 else b"", int(rng.choice([6, 6, 17]))
    return _contacts(rng, _periodic(rng, count, 0.2, 60.0), peers, _any_port(rng, 0.7), state, (20, 800), (20, 4000),
                     (0.005, 5.0), proto=proto, service=service)  # fmt: skip


def _hole_punching(rng: Rng) -> Contact:
    """A camera or a call looks for a way through address translators: datagrams to ports that mostly stay silent."""
    count = _count(rng, 6, 300)
    peers = rng.choice(_outside(rng, _count(rng, 1, 40)), count)
    base = rng.integers(1024, 65000, 40)
    ports = rng.choice(base, count) + rng.integers(0, _count(rng, 1, 300), count)
    answered = float(rng.choice([0.0, 0.05, 0.2, 0.5]))
    state = _mixed(rng, count, ("SF", "S0"), (answered, 1 - answered))
    start_s = _poisson(rng, count, 0.003, 30.0)
    return _contacts(rng, start_s, peers, np.minimum(ports, 65535), state, (4, 200), (4, 400), (0.02, 120.0), proto=17)


def _keep_alive(rng: Rng) -> Contact:
    """A vendor's datagram service on a port of its own, several servers held warm."""
    count = _count(rng, 6, 300)
    peers = rng.choice(_outside(rng, _count(rng, 1, 12)), count)
    ports = rng.choice([_any_port(rng) for _ in range(_count(rng, 1, 5))], count)
    lost = float(rng.choice([0.0, 0.05, 0.3, 0.7]))
    state = _mixed(rng, count, ("SF", "S0"), (1 - lost, lost))
    start_s = _periodic(rng, count, 1.0, 1800.0) if rng.random() < 0.6 else _poisson(rng, count, 0.001, 2.0)
    return _contacts(rng, start_s, peers, ports, state, (4, 500), (4, 900), (0.005, 60.0), proto=17)


def _browsing(rng: Rng) -> Contact:
    """Someone reads: bursts of pages from many servers, a few of them dead."""
    count = _count(rng, 10, 1200)
    peers = rng.choice(_outside(rng, _count(rng, 4, 300)), count)
    ports = rng.choice([443, 443, 443, 80, 8080, 5228, 993], count)
    outcomes = ("SF", "S1", "S3", "RSTO", "RSTR", "S0", "OTH")
    state = _mixed(rng, count, outcomes, rng.dirichlet((8, 1, 1, 2, 1, 0.3, 0.7)))
    pause_s, burst_s = log_uniform(rng, 5, 300), log_uniform(rng, 0.01, 0.5)
    gaps = rng.exponential(1.0, count) * np.where(rng.random(count) < 0.15, pause_s, burst_s)
    return _contacts(rng, np.cumsum(gaps) - gaps[0], peers, ports, state, (300, 6000), (300, 200000), (0.05, 90.0),
                     service=(b"ssl", b"")[int(rng.integers(2))])  # fmt: skip


MALICIOUS: Final[tuple[tuple[Callable[[Rng], Contact], AttackClass], ...]] = (
    (_beacon, AttackClass.C2),
    (_beacon, AttackClass.C2),
    (_beacon, AttackClass.C2),
    (_tunnel, AttackClass.C2),
    (_sweep, AttackClass.SCAN),
    (_sweep, AttackClass.SCAN),
    (_port_scan, AttackClass.SCAN),
    (_inbound(_sweep), AttackClass.SCAN),
    (_inbound(_port_scan), AttackClass.SCAN),
    (_guessing, AttackClass.BRUTE_FORCE),
    (_guessing, AttackClass.BRUTE_FORCE),
    (_inbound(_guessing), AttackClass.BRUTE_FORCE),
    (_flood, AttackClass.DDOS),
    (_flood, AttackClass.DDOS),
    (_inbound(_flood), AttackClass.DOS),
    (_exfiltration, AttackClass.EXFILTRATION),
)

BENIGN: Final[tuple[tuple[Callable[[Rng], Contact], AttackClass], ...]] = tuple(
    (draw, AttackClass.BENIGN)
    for draw in (
        _poll,
        _poll,
        _poll,
        _dead_cloud,
        _datagrams,
        _datagrams,
        _download,
        _upload,
        _hub,
        _inbound(_hub),
        _hole_punching,
        _keep_alive,
        _browsing,
        _browsing,
    )
)


def _flows(contact: Contact, attack_class: AttackClass, rng: Rng) -> FlowBatch:
    count = len(contact.start_s)
    spoke = ~np.isin(contact.state, ("S0", "REJ", "SH", "RSTOS0", "OTH"))
    is_tcp = contact.proto == 6
    state = contact.state if is_tcp else np.where(contact.state == "S0", "S0", np.where(spoke, "SF", "S0"))
    sent = np.where(spoke | (not is_tcp), contact.sent, 0)
    received = np.where(spoke, contact.received, 0)
    tries = np.where(state == "S0", rng.integers(1, 5), 1) if is_tcp else np.ones(count, dtype=np.int64)
    peer = np.stack([np.zeros(count, dtype=np.uint64), contact.peer], axis=1)
    owner = np.broadcast_to(OWNER, (count, 2))
    first_port = int(rng.integers(1024, 60000))
    fixed = rng.random() < 0.15
    return FlowBatch.unknown(
        count,
        started_at_s=contact.start_s,
        duration_s=np.where(spoke, contact.span_s, np.where(tries > 1, 3.0 * (tries - 1), np.nan)),
        proto=np.full(count, contact.proto, dtype=np.uint8),
        orig_address=np.ascontiguousarray(peer if contact.inbound else owner),
        resp_address=np.ascontiguousarray(owner if contact.inbound else peer),
        orig_port=np.full(count, first_port, dtype=np.uint16)
        if fixed
        else rng.integers(32768, 61000, count).astype(np.uint16),
        resp_port=contact.port.astype(np.uint16),
        orig_bytes=sent.astype(np.int64),
        resp_bytes=received.astype(np.int64),
        orig_packets=_packets(sent, spoke, tries, is_tcp, rng),
        resp_packets=np.where(spoke | (state == "REJ"), _packets(received, spoke, np.ones(count), is_tcp, rng), 0),
        conn_state=np.array([CONN_STATE_CODE[str(name)] for name in state], dtype=np.uint8),
        history=np.array([_history(str(name), is_tcp, rng) for name in state], dtype="S24"),
        service=np.where(spoke | (not is_tcp), np.bytes_(contact.service), np.bytes_(b"")).astype("S24"),
        labels=Labels(
            malicious=np.full(count, attack_class is not AttackClass.BENIGN, dtype=np.int8),
            attack_class=np.full(count, CLASS_INDEX[attack_class], dtype=np.int8),
            ton_class=np.full(count, -1, dtype=np.int8),
            detail=np.full(count, attack_class.value.encode(), dtype="S48"),
        ),
    )


def _packets(
    payload: npt.NDArray[np.int64], spoke: npt.NDArray[np.bool_], tries: npt.NDArray[Any], is_tcp: bool, rng: Rng
) -> npt.NDArray[np.int64]:
    data = -(-payload // int(rng.integers(300, 1400)))
    dialogue = data + int(rng.integers(3, 6)) if is_tcp else np.maximum(data, 1)
    return np.where(spoke, dialogue, tries).astype(np.int64)


def _history(state: str, is_tcp: bool, rng: Rng) -> bytes:
    if not is_tcp:
        return b"Dd" if state == "SF" else b"D"
    choices = HISTORIES[state]
    return choices[int(rng.integers(len(choices)))]
