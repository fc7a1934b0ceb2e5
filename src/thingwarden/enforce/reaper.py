"""The reaper: sleeps until the next lease lapses, and has its act undone, whatever became of the others.

In: a folder of leases. Out: undone acts, and a line on stderr for each.
Must never: import what it does not need all the time; give up a lease whose act was not undone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from thingwarden.domain.errors import ThingwardenError
from thingwarden.enforce.leases import LeaseFolder, read_boot_id, read_boot_s

LOOK_EVERY_S: Final = 30.0
"""It looks again at least this often, since a suspended machine or a moved clock wakes nobody."""

UNDO_WITHIN_S: Final = 30.0
RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 60.0
MAX_AT_ONCE: Final = 4


class _Attempt:
    """How the undo of one lease goes."""

    __slots__ = ("count", "due_s", "pid", "started_s")

    def __init__(self) -> None:
        self.count = 0
        self.due_s = 0.0
        self.pid = 0
        self.started_s = 0.0


class Reaper:
    """Ends what has lapsed.

    Args:
        folder: of the leases.

    Raises:
        ConfigError: the folder cannot be used, or another reaper looks after it.
    """

    def __init__(self, folder: LeaseFolder) -> None:
        self._folder = folder
        self._bell = folder.listen()
        self._boot_id = read_boot_id()
        self._attempts: dict[str, _Attempt] = {}
        self._stops = False
        self._wake_receiver, self._wake_sender = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self, *_: object) -> None:
        """Leave ``run`` soon; what has not lapsed waits for the next reaper."""
        self._stops = True

    def run(self) -> None:
        """Reap until told to stop."""
        signal.set_wakeup_fd(self._wake_sender, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        while not self._stops:
            wait_s = self.step()
            ready, _, _ = select.select([self._bell, self._wake_receiver], [], [], wait_s)
            for descriptor in ready:
                os.read(descriptor, 65_536)
        signal.set_wakeup_fd(-1)

    def step(self) -> float:
        """Start undoing what has lapsed, see what became of the rest; seconds until there is more to do."""
        ids = set(self._folder.ids())
        self._attempts = {lease_id: item for lease_id, item in self._attempts.items() if lease_id in ids or item.pid}
        wait_s = LOOK_EVERY_S
        for lease_id in ids | self._attempts.keys():
            wait_s = min(wait_s, self._look_at(lease_id))
        return max(wait_s, 0.01)

    def close(self) -> None:
        """Let another reaper have the folder."""
        for descriptor in (self._bell, self._wake_receiver, self._wake_sender):
            os.close(descriptor)

    def _look_at(self, lease_id: str) -> float:
        attempt = self._attempts.get(lease_id)
        if attempt is None:
            rest_s = self._rest_s(lease_id)
            if rest_s > 0:
                return rest_s
            attempt = self._attempts[lease_id] = _Attempt()
        if attempt.pid:
            return self._look_after(lease_id, attempt)
        now_s = time.monotonic()
        running_count = sum(1 for item in self._attempts.values() if item.pid)
        if attempt.due_s <= now_s and running_count < MAX_AT_ONCE:
            attempt.pid = _start_undo(self._folder.path, lease_id)
            attempt.started_s = now_s
            return UNDO_WITHIN_S
        return max(attempt.due_s - now_s, 0.1)

    def _rest_s(self, lease_id: str) -> float:
        """Seconds until it lapses."""
        try:
            lease = self._folder.read(lease_id)
        except ThingwardenError as error:
            _say(str(error))
            return LOOK_EVERY_S
        return LOOK_EVERY_S if lease is None else lease.rest_s(time.time(), read_boot_s(), self._boot_id)

    def _look_after(self, lease_id: str, attempt: _Attempt) -> float:
        """See what became of a running undo."""
        pid, status = os.waitpid(attempt.pid, os.WNOHANG)
        running_s = time.monotonic() - attempt.started_s
        if pid == 0:
            if running_s > UNDO_WITHIN_S:
                os.kill(attempt.pid, signal.SIGKILL)
            return max(UNDO_WITHIN_S - running_s, 0.1)
        attempt.pid = 0
        exit_code = os.waitstatus_to_exitcode(status)
        if exit_code == 0:
            self._folder.remove(lease_id)
            del self._attempts[lease_id]
            _say(f"lease {lease_id} lapsed; its act is undone")
            return LOOK_EVERY_S
        pause_s = min(RETRY_FIRST_S * 2.0**attempt.count, RETRY_LAST_S)
        attempt.count = min(attempt.count + 1, 16)
        attempt.due_s = time.monotonic() + pause_s
        _say(f"lease {lease_id} lapsed, but its act is not undone (exit code {exit_code}); again in {pause_s:g} s")
        return pause_s


def _start_undo(folder: str, lease_id: str) -> int:
    """Start the undo as a process, which imports nothing from the folder that it is started in; its pid."""
    argv = [sys.executable, "-P", "-m", "thingwarden.enforce.undo", folder, lease_id]
    return os.posix_spawn(sys.executable, argv, os.environ)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode("utf-8", "replace"))


def main(arguments: Sequence[str]) -> int:
    """Reap the leases of the folder that is named."""
    if len(arguments) != 1:
        _say("usage: python -m thingwarden.enforce.reaper FOLDER")
        return 2
    try:
        reaper = Reaper(LeaseFolder(arguments[0]))
        reaper.run()
    except ThingwardenError as error:
        _say(f"error: {error.what}\nwhy:   {error.why}\nhint:  {error.hint}")
        return error.exit_code
    except OSError as error:
        _say(f"error: folder {arguments[0]}\nwhy:   {error.strerror or error}\nhint:  check folder and permission")
        return 2
    reaper.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
