"""A folder of leases: what must be undone at its time, whatever becomes of the process that did it.

In: what was done, until when, and how to undo it. Out: files that the reaper reads, each whole or absent.
Must never: let an act be applied before its lease is on the disk; import what the reaper cannot afford.
"""

# pathlib costs a megabyte, of the twelve that the reaper may have.
# ruff: noqa: PTH103, PTH104, PTH108, PTH116, PTH208

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import Any, Final, NamedTuple

from thingwarden.domain.errors import ConfigError

MAX_LEASE_BYTES: Final = 16_384
_SUFFIX: Final = ".lease"
_BELL: Final = "bell"


class Lease(NamedTuple):
    """One act that somebody must undo.

    Attributes:
        lease_id: the decision's id; the file's name.
        kind: which undo is called, a key of ``undo.UNDOERS``.
        boot_id: the start of the machine during which it was given; after another one it is over.
        ends_at_boot_s: when it lapses, in seconds since that start.
        ends_at_s: the same by the wall clock, Unix seconds; whichever comes first counts.
        values: what the undo needs; JSON without secrets.
    """

    lease_id: str
    kind: str
    boot_id: str
    ends_at_boot_s: float
    ends_at_s: float
    values: dict[str, Any]

    def rest_s(self, wall_s: float, boot_s: float, boot_id: str) -> float:
        """Seconds until it lapses; 0 where it has."""
        if boot_id != self.boot_id:
            return 0.0
        return max(0.0, min(self.ends_at_boot_s - boot_s, self.ends_at_s - wall_s))


class LeaseFolder:
    """Leases as files, made by enforcers and removed by whoever has undone the act.

    Args:
        path: of the folder; made where it is missing, for its owner alone.

    Raises:
        ConfigError: it cannot be made or written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            if not stat.S_ISFIFO(self._bell_mode()):
                os.mkfifo(self._file(_BELL), 0o600)
        except FileExistsError:
            pass
        except OSError as error:
            raise ConfigError(f"folder {path}", error.strerror or str(error), "check path and permission") from error

    def has_reaper(self) -> bool:
        """Whether a reaper listens, so that a lease is sure to be ended."""
        return self._ring() is not None

    def add(self, lease: Lease) -> None:
        """Write the lease to the disk, whole, and wake the reaper.

        Raises:
            OSError: the disk is full or fails; no lease is left.
        """
        text = json.dumps(lease._asdict()).encode()
        if len(text) > MAX_LEASE_BYTES:
            raise OSError(errno.EMSGSIZE, "the lease is too long")
        file, draft = self._file(lease.lease_id + _SUFFIX), self._file(lease.lease_id + ".draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                if os.write(descriptor, text) != len(text):
                    raise OSError(errno.ENOSPC, "the lease was written in part only")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(draft, file)
        except OSError:
            os.unlink(draft)
            raise
        self._sync()
        self._ring()

    def lapse(self, lease_id: str) -> None:
        """Have the reaper undo its act at once.

        Raises:
            ConfigError: the lease is damaged.
            OSError: the disk is full or fails.
        """
        lease = self.read(lease_id)
        if lease is not None:
            self.add(lease._replace(ends_at_boot_s=0.0))

    def remove(self, lease_id: str) -> None:
        """Forget the lease; one that is not there is none."""
        try:
            os.unlink(self._file(lease_id + _SUFFIX))
        except FileNotFoundError:
            return
        self._sync()

    def read(self, lease_id: str) -> Lease | None:
        """The lease; None where there is none.

        Raises:
            ConfigError: it is damaged.
        """
        file = self._file(lease_id + _SUFFIX)
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            lease = Lease(**json.loads(os.read(descriptor, MAX_LEASE_BYTES)))
            lease.rest_s(0.0, 0.0, lease.boot_id)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"lease {file}", f"damaged: {error}", "undo its act by hand, then remove it") from error
        finally:
            os.close(descriptor)
        return lease

    def ids(self) -> list[str]:
        """Of every lease, in no order."""
        return [name[: -len(_SUFFIX)] for name in os.listdir(self.path) if name.endswith(_SUFFIX)]

    def listen(self) -> int:
        """A descriptor that becomes readable when a lease is added; for the one reaper.

        Raises:
            ConfigError: another reaper listens.
        """
        if self.has_reaper():
            raise ConfigError(f"folder {self.path}", "another reaper looks after it", "one is enough")
        # Open for writing too, so that it never reports the end of a last writer.
        return os.open(self._file(_BELL), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _bell_mode(self) -> int:
        try:
            return os.stat(self._file(_BELL)).st_mode
        except FileNotFoundError:
            return 0

    def _ring(self) -> bool | None:
        """Wake the reaper; None where there is none."""
        try:
            descriptor = os.open(self._file(_BELL), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise
        try:
            os.write(descriptor, b"x")
        except BlockingIOError:
            pass  # Full: it rings already.
        finally:
            os.close(descriptor)
        return True

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> str:
        return self.path + "/" + name


def read_boot_id() -> str:
    """What tells one start of the machine from another.

    Raises:
        ConfigError: the machine does not say.
    """
    try:
        descriptor = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError("the machine's boot id", error.strerror or str(error), "mount /proc") from error
    try:
        return os.read(descriptor, 64).decode("ascii").strip()
    finally:
        os.close(descriptor)


def read_boot_s() -> float:
    """Seconds since the machine started, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
