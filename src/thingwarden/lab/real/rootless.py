"""The lab without root: the same command again, as root of a user namespace of its own.

In: a command line. Out: its exit status.
Must never: gain a right outside the namespaces that it makes; when this process dies, all in them dies too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from thingwarden.domain.errors import ConfigError

_CAP_NET_ADMIN: Final = 1 << 12
_CAP_SYS_ADMIN: Final = 1 << 21
_STOP_GRACE_S: Final = 15.0

_UNSHARE: Final = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip

_PREPARE: Final = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"'
"""``ip netns`` keeps its names in /run/netns, which has to be our own."""

_KNOBS: Final = (
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
"""Kernel setting, the value that forbids user namespaces, and what an administrator can do."""


def is_rootless_needed() -> bool:
    """Whether this process may not make network namespaces, so that ``reexecute`` is the way."""
    wanted = _CAP_NET_ADMIN | _CAP_SYS_ADMIN
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & wanted != wanted
    return True


def reexecute(argv: Sequence[str]) -> int:
    """Run a command to its end as root of a user namespace, in network, mount and process namespaces of its own.

    Interrupts and SIGTERM are handed on; a command that does not end upon them in time is killed.

    Args:
        argv: the whole command line, such as ``[sys.executable, "-m", "thingwarden", *arguments]``.

    Returns:
        its exit status; 128 and the signal's number where a signal ended it.

    Raises:
        ConfigError: the kernel forbids it; the hint names the setting.
    """
    _require_allowed()
    sys.stdout.flush()
    # A group of its own: the terminal's interrupt would kill unshare and leave its child no time.
    command = [*_UNSHARE, "sh", "-c", _PREPARE, "sh", *argv]
    process = subprocess.Popen(command, process_group=0)  # noqa: S603
    with _handing_on(process):
        status = process.wait()
    return 128 - status if status < 0 else status


def forbidding_knob(settings: Path = Path("/proc/sys")) -> tuple[str, str]:
    """The kernel setting that forbids user namespaces, dotted, and what can be done; both empty where none does."""
    for path, forbidding, remedy in _KNOBS:
        knob = settings / path
        if knob.exists() and knob.read_text(encoding="ascii").strip() == forbidding:
            return f"{path.replace('/', '.')} is {forbidding}", f"As root: {remedy}, or run the lab as root."
    return "", ""


def _require_allowed() -> None:
    try:
        done = subprocess.run(  # noqa: S603
            [*_UNSHARE, "sh", "-c", _PREPARE, "sh", "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ConfigError("lab", f"missing program: {error.filename}", "apt-get install util-linux") from error
    if done.returncode != 0:
        why, hint = forbidding_knob()
        raise ConfigError(
            "lab without root",
            why or done.stderr.strip() or f"unshare ended with status {done.returncode}",
            hint or "Run the lab as root; a container needs the capabilities SYS_ADMIN and NET_ADMIN.",
        )


@contextlib.contextmanager
def _handing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # Killing unshare kills its child, and with it the whole process namespace.
        killer = threading.Timer(_STOP_GRACE_S, process.kill)
        killer.daemon = True
        killer.start()

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
