"""What an enforcer's process may still do once it runs: one capability, or none.

In: the capabilities to keep. Out: a process, and children of it, that can never have another.
Must never: go on where the kernel kept a right that should be gone.
Source: capabilities(7), prctl(2), capset(2).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import ConfigError

CAP_SETPCAP: Final = 8
CAP_NET_ADMIN: Final = 12

_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_MAX_CAPABILITY: Final = 63


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def keep_only(capabilities: frozenset[int]) -> None:
    """Give up every other capability, for this process and all it starts, and the way to new ones.

    Children get what is kept, since the firewall's own program needs it. Called before there is a second thread.

    Args:
        capabilities: numbers of capabilities(7); those that the process does not have stay missing.

    Raises:
        ConfigError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    permitted = permitted_capabilities()
    kept = capabilities & permitted
    if CAP_SETPCAP in permitted:
        for number in range(_MAX_CAPABILITY + 1):
            if number not in kept and libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
                _check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "give up a capability")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "forbid new privileges")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
    mask = sum(1 << number for number in kept)
    halves = [(mask >> shift) & 0xFFFFFFFF for shift in (0, 32)]
    sets = (_Sets * 2)(*(_Sets(half, half, half) for half in halves))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    _check(libc.capset(ctypes.byref(header), sets), "set capabilities")
    for number in kept:
        _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0), "hand a capability to children")
    if permitted_capabilities() != kept:
        raise ConfigError("privileges", "the kernel kept capabilities that were given up", "nothing was enforced")


def permitted_capabilities() -> frozenset[int]:
    """Numbers of the capabilities that this process may use."""
    status = Path("/proc/self/status").read_text("ascii")
    mask = int(status.split("CapPrm:")[1].split()[0], 16)
    return frozenset(number for number in range(_MAX_CAPABILITY + 1) if mask >> number & 1)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise ConfigError("privileges", f"cannot {what}: {os.strerror(ctypes.get_errno())}", "start it as root")
