"""The parent's side of ``program``: starts hosts and acts, and hears of their ends.

In: ``Program``. Out: ``Ending``.
Must never: leave the forking process behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.real.program import ENDING, PROGRAM, Ending, Program

_CHUNK_BYTES = 1 << 16
_STOP_GRACE_S = 5.0


class Nursery:
    """A running forking process; use through ``open_nursery``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._unread = b""

    def start(self, program: Program) -> None:
        """Fork a child that becomes ``program``.

        Raises:
            ConfigError: the forking process is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(PROGRAM.dump_json(program) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def endings(self, timeout_s: float) -> list[Ending]:
        """Who has ended; waits at most ``timeout_s`` for the first.

        Raises:
            ConfigError: the forking process is gone.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], max(timeout_s, 0.0))[0]:
            return []
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            raise self._failure()
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        return [ENDING.validate_json(line) for line in lines]

    def _failure(self) -> ConfigError:
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return ConfigError("lab programs", said[-1] if said else "the process that starts them is gone")


@contextlib.contextmanager
def open_nursery(log: Path) -> Iterator[Nursery]:
    """A forking process for the time of a lab; what it says goes to ``log``."""
    argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "thingwarden.lab.real.program"]
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
    try:
        yield Nursery(process, log)
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.communicate(timeout=_STOP_GRACE_S)
