"""What a lab owns outside its process, how that is marked as its own, and how it goes away when the process is dead.

In: nothing. Out: an owner's mark, a scratch folder, and ``clean``.
Must never: touch what a living lab owns, nor trust a process id alone, since ids are reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

NAMESPACES: Final = Path("/run/netns")
SCRATCH_PREFIX: Final = "tw-lab-run-"
_NAME_FORM: Final = re.compile(r"tw-([0-9a-f]+)\.([0-9a-f]+)\.[0-9a-f]+-[a-z0-9-]+")
_KILL_ROUNDS: Final = 50
_KILL_PAUSE_S: Final = 0.02
_START_FIELD: Final = 19
_numbers: Final = itertools.count()


def new_prefix() -> str:
    """What the names of a lab's namespaces begin with, in hexadecimal.

    Returns:
        ``tw-``, this process's id, when it was started, and a number that no other lab of this process has.
    """
    return f"tw-{os.getpid():x}.{_started_ticks(os.getpid()):x}.{next(_numbers):x}"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a lab's files, removed at the end; its lock is held while this process lives."""
    path, descriptor = _make_locked()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def clean() -> list[str]:
    """Remove what labs whose process is gone have left behind; labs still running are not touched.

    Returns:
        the names of the namespaces and the paths of the folders removed.
    """
    names = sorted(path.name for path in NAMESPACES.glob("tw-*")) if NAMESPACES.is_dir() else []
    stale = [name for name in names if _is_orphan(name)]
    remove_namespaces(stale)
    folders = [path for path in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*")) if _take(path)]
    return [*stale, *(str(path) for path in folders)]


def remove_namespaces(names: Iterable[str]) -> None:
    """Kill all that runs in these namespaces and remove them; interfaces go with them."""
    present = [name for name in names if (NAMESPACES / name).exists()]
    for name in present:
        kill_inside(name)
    deletions = "".join(f"netns del {name}\n" for name in present)
    subprocess.run(["ip", "-force", "-batch", "-"], input=deletions, capture_output=True, text=True, check=False)  # noqa: S607


def kill_inside(namespace: str) -> None:
    """Kill every process in a namespace at once, as a power cut would, and those that it starts meanwhile."""
    for _ in range(_KILL_ROUNDS):
        listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)  # noqa: S603, S607
        pids = [int(pid) for pid in listed.stdout.split()]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_KILL_PAUSE_S)


def _is_orphan(name: str) -> bool:
    match = _NAME_FORM.fullmatch(name)
    return match is not None and _started_ticks(int(match[1], 16)) != int(match[2], 16)


def _started_ticks(pid: int) -> int:
    """When a process was started, in clock ticks since the machine was; -1 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return -1
    # The program's name, in parentheses, may hold anything.
    return int(stat.rpartition(")")[2].split()[_START_FIELD])


def _make_locked() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another lab's clean may have taken it between the two.
            if path.exists():
                return path, descriptor
        os.close(descriptor)


def _take(path: Path) -> bool:
    """Remove a folder unless its owner lives, whichever process namespace it lives in, or it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
