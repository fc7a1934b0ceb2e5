"""What a watch writes into the journal, in portions: what happened, whom it knows, who is protected.

In: the kernel's records, closings of flows, devices, protected hosts. Out: journal entries, and counts for a summary.
Must never: be asked to write while an order waits; grow beyond a bound where nothing can be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.device import Device
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange
from thingwarden.domain.response import Decision, Refusal
from thingwarden.domain.word import UNATTRIBUTED, WordBatch
from thingwarden.pipeline import Record
from thingwarden.respond.protect import ProtectedHosts
from thingwarden.serve.entries import entry_from_record, network_entry
from thingwarden.serve.replay import DeviceSummary
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value

MAX_RECORDS: Final = 10_000
"""Kept while the journal cannot be written, a full disk for example; the oldest go first, and are counted."""


class Logbook:
    """Keeps what is to be written until there is time for it.

    Args:
        journal: where it goes; None for nowhere.
        key: that decisions are signed with; None where nothing may be enforced from the journal.

    Attributes:
        decision_count, refusal_count: noted so far.
        lost_count: records that were never written.
    """

    def __init__(self, journal: Journal | None, key: bytes | None) -> None:
        self._journal, self._key = journal, key
        self._records: list[Record] = []
        self._incident_of: dict[str, str] = {}
        self._closed_count = np.zeros(1, dtype=np.int64)  # flows by device
        self._known: dict[int, Device] = {}
        self._protected: ProtectedHosts | None = None
        self.decision_count = self.refusal_count = self.lost_count = 0

    def note(self, record: Record) -> None:
        """Keep a record of the kernel."""
        if isinstance(record.entry, Decision):
            self.decision_count += 1
            self._incident_of[record.entry.decision_id] = record.entry.incident_id
        elif isinstance(record.entry, Refusal):
            self.refusal_count += 1
        if self._journal is not None:
            self._records.append(record)
        if len(self._records) > MAX_RECORDS:
            del self._records[0]
            self.lost_count += 1

    def note_closings(self, words: WordBatch) -> None:
        """Count the flows that closed in each device's sentence."""
        counts = np.bincount(words.device[words.is_close], minlength=len(self._closed_count))
        counts[: len(self._closed_count)] += self._closed_count
        self._closed_count = counts

    def write(self, devices: Sequence[Device], protected: ProtectedHosts, at: datetime) -> None:
        """Write what was noted, the devices that are new, and the protected hosts if they changed.

        Raises:
            ConfigError: the journal cannot be written; what was noted is kept.
        """
        if self._journal is None:
            return
        news = list(self._news(devices, protected, at))
        if news:
            self._journal.append(news)
        self._records.clear()
        self._known = {device.index: device for device in devices}
        self._protected = protected

    def close(
        self,
        devices: Sequence[Device],
        protected: ProtectedHosts,
        incidents: Sequence[Incident],
        run: JournalEntry,
    ) -> tuple[DeviceSummary, ...]:
        """Write the rest, with every device and incident as it stands; what was seen of each device.

        Raises:
            ConfigError: the journal cannot be written.
        """
        summaries = self._summaries(devices, protected, incidents)
        at = datetime.fromisoformat(run.at)
        if self._journal is not None:
            last = [
                IncidentChange(kind=ChangeKind.GREW, at=incident.last_seen_at, incident=incident)
                for incident in incidents
            ]
            self._records += [Record(at=change.at, entry=change) for change in last]
            self._known = {device.index: device for device in devices}
            told = [_device_entry(summary, run.at) for summary in summaries]
            self._journal.append([run, *told, *self._news(devices, protected, at)])
            self._records.clear()
        return summaries

    def _news(self, devices: Sequence[Device], protected: ProtectedHosts, at: datetime) -> Iterator[JournalEntry]:
        for device in devices:
            if device.index != UNATTRIBUTED and self._known.get(device.index) != device:
                yield _device_entry(self._summary(device, protected, ()), plain_from_value(at))
        if protected != self._protected:
            yield network_entry(protected, at)
        for record in self._records:
            yield entry_from_record(record, self._incident_of, self._key)

    def _summaries(
        self, devices: Sequence[Device], protected: ProtectedHosts, incidents: Sequence[Incident]
    ) -> tuple[DeviceSummary, ...]:
        met = [device for device in devices if device.index != UNATTRIBUTED]
        return tuple(self._summary(device, protected, incidents) for device in met)

    def _summary(self, device: Device, protected: ProtectedHosts, incidents: Sequence[Incident]) -> DeviceSummary:
        own = [incident for incident in incidents if incident.device == device]
        counts: npt.NDArray[np.int64] = self._closed_count
        return DeviceSummary(
            device=device,
            role=protected.roles.get(device.address) if device.address else None,
            flow_count=int(counts[device.index]) if device.index < len(counts) else 0,
            malicious_flow_count=sum(incident.flow_count for incident in own),
            incident_ids=tuple(incident.incident_id for incident in own),
        )


def _device_entry(summary: DeviceSummary, at: str) -> JournalEntry:
    body = {"name": summary.name, **plain_from_value(summary)}
    return JournalEntry(at=at, kind="device", subject=summary.name, incident="", body=body)
