"""Acts in the kernel's firewall: a table of our own whose sets the kernel empties by itself.

In: decisions. Out: receipts; what they have cut is the kernel's own count.
Must never: touch another table, leave an act in part, or let one outlive its time, whatever becomes of this process.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any, Final

from thingwarden.domain.address import IpAddress, IpNetwork
from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.response import ACTS_WITHIN, Act, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.neighbours import addresses_of
from thingwarden.enforce.nfnetlink import Element, change_elements, find_element, list_elements, list_sets
from thingwarden.enforce.nft_shape import Match, matches_of, networks_of, set_text, spared_text, table_text
from thingwarden.enforce.own_hosts import find_known_hosts

TABLE: Final = "thingwarden"
"""Its name in the kernel; all of it is ours."""

MAX_LANES: Final = 8
"""Decisions that may restrict the very same packets at once, each with an element of its own."""

MAX_ENDED: Final = 1024
"""Acts that the kernel ended, whose counters are kept until somebody asks; the oldest go first."""

PROGRAM_WITHIN_S: Final = 5.0
_TRIES: Final = 4
_PROGRAM_FOLDERS: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_FAMILIES: Final = {Reach.GATEWAY: "inet", Reach.HOST: "inet", Reach.BRIDGE: "bridge"}
_DECISION_ID: Final = re.compile("[0-9a-f]{12}")
_SPARED_SETS: Final = frozenset({"spared4", "spared6"})

_REASONS: Final = {
    errno.EPERM: "permission refused: the process needs the capability CAP_NET_ADMIN",
    errno.ENFILE: "the kernel's set is full",
    errno.ENOSPC: "the kernel's set is full",
    errno.ETIMEDOUT: "the kernel does not answer",
}


@dataclass(slots=True)
class _Act:
    """What is held: the decision where this process applied it itself, and its elements without lifetimes."""

    decision: Decision | None
    elements: list[Element]


class NftablesEnforcer:
    """Puts decisions into force by nftables.

    Args:
        reach: where this machine stands: ``gateway`` and ``host`` see what is routed, ``bridge`` also what is bridged;
            from a ``mirror`` nothing can be cut, and every receipt says so.
        spared: networks that a quarantined device may go on to reach.
        table: name of the table.
        find_addresses: the addresses of a MAC that the machine knows now.
    """

    name = "nftables"

    def __init__(
        self,
        reach: Reach = Reach.GATEWAY,
        *,
        spared: Iterable[IpNetwork] = (),
        table: str = TABLE,
        find_addresses: Callable[[str], Sequence[IpAddress]] = addresses_of,
    ) -> None:
        if reach is not Reach.MIRROR and reach not in _FAMILIES:
            raise ConfigError("the firewall's reach", f"{reach.value} is none", "gateway, bridge, host or mirror")
        self.capability = Capability(reach=reach, acts=ACTS_WITHIN[reach], ends_by_itself=True)
        self._family, self._table = _FAMILIES.get(reach, "inet"), table
        self._spared, self._find_addresses = tuple(spared), find_addresses
        self._acts: dict[str, _Act] = {}
        self._owners: dict[tuple[str, bytes], str] = {}
        self._sets: set[str] = set()
        self._ended: dict[str, list[Element]] = {}

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Put it into force as a whole; an act whose time is over, or that cannot reach, fails with the reason."""
        if decision.act is Act.NOTIFY:
            return self._receipt(decision.decision_id, ReceiptStatus.APPLIED, now, "a notification needs no firewall")
        if decision.act not in self.capability.acts:
            return self._receipt(decision.decision_id, ReceiptStatus.FAILED, now, self._why_beyond(decision.act))
        matches = matches_of(decision, self._addresses(decision))
        if not matches:
            detail = f"no address of {decision.target} is known that its packets could be told by"
            return self._receipt(decision.decision_id, ReceiptStatus.FAILED, now, detail)
        if decision.expires_at <= now:
            return self._receipt(decision.decision_id, ReceiptStatus.FAILED, now, "its time is over")
        try:
            return self._put(decision, matches, now)
        except (OSError, EnforcementError) as error:
            return self._receipt(decision.decision_id, ReceiptStatus.FAILED, now, f"nothing changed: {_why(error)}")

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Remove its own elements and no other; what they have cut is told."""
        if self.capability.reach is Reach.MIRROR:
            return self._receipt(decision.decision_id, ReceiptStatus.REVOKED, now, "nothing to undo")
        try:
            for attempt in range(_TRIES):
                elements = self._elements_of(decision.decision_id)
                try:
                    change_elements(self._family, self._table, elements, ())
                except OSError as error:
                    # An element that ended since it was listed makes the kernel refuse the batch.
                    if error.errno != errno.ENOENT or attempt == _TRIES - 1:
                        raise
                    continue
                break
        except OSError as error:
            detail = f"still in force until its time is over: {_why(error)}"
            return self._receipt(decision.decision_id, ReceiptStatus.FAILED, now, detail)
        self._forget(decision.decision_id)
        ended = self._ended.pop(decision.decision_id, [])
        detail = f"{len(elements)} elements removed"
        if not elements:
            elements, detail = ended, "it had ended by itself; what it cut is as last seen"
        return self._counted(decision.decision_id, ReceiptStatus.REVOKED, now, detail, elements)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What the kernel holds; where somebody removed our table, what should be in force is restored, and said.

        Raises:
            EnforcementError: the kernel cannot be asked.
        """
        if self.capability.reach is Reach.MIRROR:
            return ()
        try:
            restored = self._restore_if_gone(now)
            by_id = self._read()
        except OSError as error:
            raise EnforcementError(
                "the firewall's table", _why(error), "nothing is known of what is in force"
            ) from error
        note = f"; restored, since somebody had removed the table {self._table}" if restored else ""
        receipts = []
        for decision_id, elements in by_id.items():
            left_s = max(element.lifetime_ms for element in elements) / 1000
            detail = f"{len(elements)} elements for another {left_s:.0f} s{note}"
            receipts.append(self._counted(decision_id, ReceiptStatus.APPLIED, now, detail, elements))
        return tuple(receipts)

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Remove the table with all that it holds."""
        if self.capability.reach is Reach.MIRROR:
            return ()
        try:
            held = self._read()
            if list_sets(self._family, self._table):
                self._run_program(f"delete table {self._family} {self._table}\n")
        except (OSError, EnforcementError) as error:
            detail = f"acts may remain until their time is over: {_why(error)}"
            return (self._receipt("", ReceiptStatus.FAILED, now, detail),)
        self._acts.clear()
        self._owners.clear()
        self._sets.clear()
        return tuple(
            self._counted(decision_id, ReceiptStatus.REVOKED, now, "the table was removed", elements)
            for decision_id, elements in held.items()
        )

    def has_table(self) -> bool:
        """Whether the kernel holds a table of ours, from whichever process; false where it cannot be asked."""
        try:
            return bool(list_sets(self._family, self._table))
        except OSError:
            return False

    def prepare(self) -> bool:
        """Make the table where there is none, and take over the one of an earlier process.

        Returns:
            Whether it was made.

        Raises:
            EnforcementError: the firewall's program is missing or refuses.
            OSError: the kernel refuses.
        """
        self._sets = set(list_sets(self._family, self._table))
        if self._sets:
            self._run_program(spared_text(self._family, self._table, self._spared))
            self._read()
            return False
        self._run_program(table_text(self._family, self._table, self._spared))
        self._sets = set(_SPARED_SETS)
        return True

    def _put(self, decision: Decision, matches: list[Match], now: datetime) -> Receipt:
        restored = 0
        for attempt in range(_TRIES):
            if not self._sets:
                restored = self._put_back(now) if self.prepare() else 0
            old = self._elements_of(decision.replaces) if decision.replaces is not None else []
            old += self._elements_of(decision.decision_id) if decision.decision_id in self._acts else []
            elements = self._place(decision, matches, now)
            try:
                change_elements(self._family, self._table, old, elements)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EEXIST) or attempt == _TRIES - 1:
                    raise
                self._refresh()
                continue
            break
        if decision.replaces is not None:
            self._forget(decision.replaces)
        self._remember(decision.decision_id, _Act(decision, elements))
        left_s = (decision.expires_at - now).total_seconds()
        note = f"; the table was missing and is made anew, with {restored} acts put back" if restored else ""
        detail = f"{len(elements)} elements in {self._family} {self._table} for {left_s:.0f} s{note}"
        return self._counted(decision.decision_id, ReceiptStatus.APPLIED, now, detail, old)

    def _place(self, decision: Decision, matches: list[Match], now: datetime) -> list[Element]:
        """Elements in sets where nobody else's element has their key."""
        own = {decision.decision_id, decision.replaces}
        lifetime = min(decision.expires_at - now, decision.expires_at - decision.decided_at)
        elements = []
        for match in matches:
            key = match.key
            names = (match.set_name + (f"_{lane}" if lane else "") for lane in range(MAX_LANES))
            name = next((name for name in names if self._owners.get((name, key), None) in {None, *own}), None)
            if name is None:
                raise EnforcementError(
                    f"decision {decision.decision_id}", f"{MAX_LANES} others restrict the same already", "revoke some"
                )
            self._make_set(name)
            elements.append(
                Element(
                    set_name=name,
                    key=key,
                    comment=decision.decision_id,
                    lifetime_ms=max(1, lifetime // timedelta(milliseconds=1)),
                    packets_per_s=decision.target.packets_per_s if decision.act is Act.RATE_LIMIT else None,
                )
            )
        return elements

    def _make_set(self, name: str) -> None:
        if name not in self._sets:
            self._run_program(set_text(self._family, self._table, name))
            self._sets.add(name)

    def _elements_of(self, decision_id: str) -> list[Element]:
        """The elements of a decision that the kernel still holds, with their counters."""
        known = self._acts.get(decision_id)
        found: Iterable[Element | None]
        if known is not None:
            found = (find_element(self._family, self._table, element) for element in known.elements)
        else:
            self._sets = set(list_sets(self._family, self._table))
            found = (item for name in self._act_sets() for item in list_elements(self._family, self._table, name))
        return [element for element in found if element is not None and element.comment == decision_id]

    def _read(self) -> dict[str, list[Element]]:
        """All that the kernel holds by decision; what has ended is forgotten."""
        by_id: dict[str, list[Element]] = {}
        self._sets = set(list_sets(self._family, self._table))
        for name in self._act_sets():
            for element in list_elements(self._family, self._table, name):
                if _DECISION_ID.fullmatch(element.comment):
                    by_id.setdefault(element.comment, []).append(element)
        before, self._acts, self._owners = self._acts, {}, {}
        self._ended |= {name: act.elements for name, act in before.items() if name not in by_id}
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        for decision_id, elements in by_id.items():
            former = before.get(decision_id)
            self._remember(decision_id, _Act(former.decision if former else None, elements))
        return by_id

    def _refresh(self) -> None:
        """Learn anew what the kernel holds, keeping what should be there where our table is gone."""
        if list_sets(self._family, self._table):
            self._read()
        else:
            self._sets.clear()

    def _restore_if_gone(self, now: datetime) -> int:
        if not self._acts or list_sets(self._family, self._table):
            return 0
        self.prepare()
        return self._put_back(now)

    def _put_back(self, now: datetime) -> int:
        """Apply again what this process had applied, for the rest of its time; how many acts."""
        lost, self._acts, self._owners = self._acts, {}, {}
        count = 0
        for act in lost.values():
            if act.decision is None or act.decision.expires_at <= now:
                continue
            again = replace(act.decision, replaces=None)
            elements = self._place(again, matches_of(again, self._addresses(again)), now)
            change_elements(self._family, self._table, (), elements)
            self._remember(again.decision_id, _Act(again, elements))
            count += 1
        return count

    def _remember(self, decision_id: str, act: _Act) -> None:
        self._forget(decision_id)
        self._acts[decision_id] = act
        for element in act.elements:
            self._owners[element.set_name, element.key] = decision_id

    def _forget(self, decision_id: str) -> None:
        act = self._acts.pop(decision_id, None)
        for element in act.elements if act is not None else ():
            if self._owners.get((element.set_name, element.key)) == decision_id:
                del self._owners[element.set_name, element.key]

    def _act_sets(self) -> list[str]:
        return sorted(self._sets - _SPARED_SETS)

    def _addresses(self, decision: Decision) -> Sequence[IpAddress]:
        """Of the device, where its address matters: what it sends is known by its MAC."""
        device = decision.target.device
        is_sent_only = decision.act is Act.RATE_LIMIT and not decision.target.is_inbound
        return () if is_sent_only or device is None or device.mac is None else self._find_addresses(device.mac.lower())

    def _run_program(self, text: str) -> None:
        program = shutil.which("nft", path=_PROGRAM_FOLDERS)
        if program is None:
            raise EnforcementError("nft", "the firewall's program is missing", "apt-get install nftables")
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, no shell, text of our own making
                [program, "-f", "-"], input=text.encode(), capture_output=True, timeout=PROGRAM_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnforcementError("nft", f"cannot be run: {error}", "see nft(8)") from error
        if done.returncode != 0:
            said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"])[0][:200]
            raise EnforcementError("nft", f"refused: {said}", "the process needs the capability CAP_NET_ADMIN")

    def _why_beyond(self, act: Act) -> str:
        if self.capability.reach is Reach.MIRROR:
            return f"{act.value} cannot reach: a mirror port shows copies of packets, and nothing can be cut there"
        return f"{act.value} is beyond a firewall"

    def _counted(
        self, decision_id: str, status: ReceiptStatus, now: datetime, detail: str, elements: Sequence[Element]
    ) -> Receipt:
        receipt = self._receipt(decision_id, status, now, detail)
        return replace(
            receipt,
            packet_count=sum(element.packet_count for element in elements),
            byte_count=sum(element.byte_count for element in elements),
        )

    def _receipt(self, decision_id: str, status: ReceiptStatus, now: datetime, detail: str) -> Receipt:
        return Receipt(decision_id=decision_id, enforcer=self.name, status=status, at=now, detail=detail)


def build_enforcer(options: Mapping[str, Any], _held: Collection[str]) -> NftablesEnforcer:
    """The enforcer by its process's options, with its table made or taken over.

    Raises:
        ConfigError: an option is refused, or the firewall cannot be used.
    """
    try:
        reach = Reach(options.get("reach", Reach.GATEWAY.value))
        spared = [ip_network(text) for text in options.get("spared", ())]
    except ValueError as error:
        raise ConfigError("the firewall's options", str(error), "a reach, and networks to spare") from error
    spared += networks_of(find_known_hosts().addresses)
    enforcer = NftablesEnforcer(reach, spared=spared)
    if reach is not Reach.MIRROR:
        try:
            enforcer.prepare()
        except (OSError, EnforcementError) as error:
            raise ConfigError("the firewall", _why(error), "run it as root, with nftables installed") from error
    return enforcer


def _why(error: OSError | EnforcementError) -> str:
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
    return str(error).splitlines()[0]
