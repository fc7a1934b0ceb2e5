"""What the guard counts, kept in a file, so that no restart forgets it.

In: holds, ends and clock readings, a line each. Out: what an earlier run had remembered.
Must never: forget an acknowledged line when the process is killed; take a damaged file for an empty one, or believe a
decision that policy's key did not sign.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.domain.order import sign_decision, verify_decision
from thingwarden.domain.plan import canonical_json, encode_decision
from thingwarden.domain.response import Decision

HOLDINGS_VERSION: Final = 1
COMPACT_ABOVE_LINES: Final = 4096
_DAMAGED_HINT: Final = "release everything with `thingwarden panic`, then remove the file"


@dataclass(slots=True)
class Remembered:
    """What an earlier run knew.

    Attributes:
        lead_s: the guard's time less the uptime, at least.
        decisions: by id, what counted as in force.
        orders: uptime in seconds and whether a person had approved, for each order of the last minutes.
    """

    lead_s: float = 0.0
    decisions: dict[str, Decision] = field(default_factory=dict)
    orders: list[tuple[float, bool]] = field(default_factory=list)


class HoldingsFile:
    """An append-only file of JSON lines with one writer; killed processes lose nothing, a torn last line is ignored.

    It is not forced to the disk: a machine that loses its power loses the firewall's rules too.

    Args:
        folder: of the enforcer's own, writable.
        boot_id: tells one start of the machine from another.
        key: decisions are signed with it, so that nobody writes them into the file.

    Raises:
        ConfigError: the folder cannot be written, or another enforcer uses it.
    """

    def __init__(self, folder: Path, boot_id: str, key: bytes) -> None:
        self._key = key
        self._path = folder / "holdings.jsonl"
        self._boot_id = boot_id
        self._line_count = self._least_line_count = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except BlockingIOError as error:
            raise ConfigError(f"folder {folder}", "another enforcer uses it", "stop that one first") from error
        except OSError as error:
            raise ConfigError(f"folder {folder}", error.strerror or str(error), "check path and permission") from error

    @property
    def wants_rewrite(self) -> bool:
        """Whether the file has grown long enough to be written anew."""
        return self._line_count > COMPACT_ABOVE_LINES + 2 * self._least_line_count

    def load(self, boot_s: float) -> Remembered:
        """What the file holds.

        Args:
            boot_s: seconds since this start of the machine; what an earlier start had counted is moved to it.

        Raises:
            ConfigError: the file is damaged; names the line.
        """
        lines = self._path.read_bytes().split(b"\n")[:-1]
        remembered = Remembered()
        is_this_boot = not lines or self._read_header(lines[0]) == self._boot_id
        latest_s = 0.0
        for number, line in enumerate(lines[1:], 2):
            latest_s = max(latest_s, self._read_line(line, number, remembered))
        if not is_this_boot:
            remembered.lead_s = latest_s - boot_s
            remembered.orders.clear()
        return remembered

    def rewrite(self, remembered: Remembered, boot_s: float) -> None:
        """Replace the file by what is remembered, whole or not at all.

        Raises:
            OSError: the disk is full or fails; the old file stays.
        """
        lines: list[dict[str, Any]] = [{"holdings_version": HOLDINGS_VERSION, "boot": self._boot_id}]
        lines.append({"clock": [boot_s + remembered.lead_s, boot_s]})
        lines += [{"order": [at_boot_s, is_approved]} for at_boot_s, is_approved in remembered.orders]
        lines += [self._hold(decision) for decision in remembered.decisions.values()]
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as stream:
            stream.writelines(canonical_json(line) + b"\n" for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._path)
        os.close(self._file)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._line_count = self._least_line_count = len(lines)

    def add_hold(self, decision: Decision, guard_s: float, boot_s: float) -> None:
        """Remember an order and its decision before it is carried out.

        Raises:
            OSError: the disk is full or fails.
        """
        order = [boot_s, decision.approved_by is not None]
        self._append({"clock": [guard_s, boot_s], "order": order, **self._hold(decision)})

    def add_end(self, decision_id: str) -> None:
        """Remember that a decision ended.

        Raises:
            OSError: the disk is full or fails.
        """
        self._append({"end": decision_id})

    def add_clock(self, guard_s: float, boot_s: float) -> None:
        """Remember how late it is.

        Raises:
            OSError: the disk is full or fails.
        """
        self._append({"clock": [guard_s, boot_s]})

    def close(self) -> None:
        """Let another enforcer have the folder."""
        os.close(self._file)
        os.close(self._lock)

    def _hold(self, decision: Decision) -> dict[str, Any]:
        return {"hold": encode_decision(decision), "signature": sign_decision(decision, self._key)}

    def _append(self, line: dict[str, Any]) -> None:
        text = canonical_json(line) + b"\n"
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            if os.write(self._file, text) != len(text):
                raise OSError("the line was written in part only; the disk may be full")
        except OSError:
            os.ftruncate(self._file, end)
            raise
        self._line_count += 1

    def _read_header(self, line: bytes) -> str:
        header = self._parse(line, 1)
        if header.get("holdings_version") != HOLDINGS_VERSION or not isinstance(header.get("boot"), str):
            raise self._damaged(1, "expected the header of this version")
        return str(header["boot"])

    def _read_line(self, line: bytes, number: int, remembered: Remembered) -> float:
        """Take one line in; the guard's time that it tells, or 0."""
        data = self._parse(line, number)
        try:
            guard_s, boot_s = data.get("clock", (0.0, 0.0))
            remembered.lead_s = max(remembered.lead_s, guard_s - boot_s)
            if "order" in data:
                remembered.orders.append((float(data["order"][0]), bool(data["order"][1])))
            if "hold" in data:
                decision = verify_decision(data["hold"], str(data.get("signature")), self._key)
                remembered.decisions[decision.decision_id] = decision
            remembered.decisions.pop(data.get("end", ""), None)
        except (RequestError, TypeError, ValueError, IndexError) as error:
            raise self._damaged(number, str(error)) from error
        return float(guard_s)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            data = json.loads(line)
        except ValueError as error:
            raise self._damaged(number, "no JSON") from error
        if not isinstance(data, dict):
            raise self._damaged(number, "expected an object")
        return data

    def _damaged(self, number: int, why: str) -> ConfigError:
        return ConfigError(f"{self._path}, line {number}", f"damaged: {why}", _DAMAGED_HINT)
