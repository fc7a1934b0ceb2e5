"""An enforcer's process and the reaper as they really run, for tests.

In: a folder, a kind and its options. Out: processes that can be killed.
Must never: leave a process behind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from enforcer_builder import KEY
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.leases import LeaseFolder
from thingwarden.enforce.settings import ProcessSettings, encode_settings


def build_process_settings(
    folder: Path, kind: str = "dry-run", options: Mapping[str, Any] | None = None
) -> ProcessSettings:
    """Settings whose files all lie in ``folder``, with a key."""
    key = folder / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    return ProcessSettings(
        kind=kind,
        socket=folder / f"{kind}.sock",
        state=folder / "state",
        leases=folder / "leases",
        key=key,
        options=options or {},
    )


@contextmanager
def running_enforcer(settings: ProcessSettings, **changes: Any) -> Iterator[subprocess.Popen[str]]:
    """The process, once it listens; killed at the end."""
    settings = replace(settings, **changes)
    with _running("thingwarden.enforce", encode_settings(settings)) as process:
        client = SocketEnforcer(settings.socket, KEY, answer_within_s=1.0)
        _wait(process, lambda: client.capability.acts)
        client.close()
        yield process


@contextmanager
def running_reaper(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The reaper, once it listens; killed at the end."""
    leases = LeaseFolder(str(folder))
    with _running("thingwarden.enforce.reaper", leases.path) as process:
        _wait(process, leases.has_reaper)
        yield process


def read_rss_kib(process: subprocess.Popen[str]) -> int:
    """Resident memory of the process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def read_stderr(process: subprocess.Popen[str]) -> str:
    """All that an ended process had said."""
    assert process.stderr is not None
    return process.stderr.read()


@contextmanager
def _running(module: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", module, argument], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _wait(process: subprocess.Popen[str], is_ready: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 10
    while not is_ready():
        assert process.poll() is None, read_stderr(process)
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
