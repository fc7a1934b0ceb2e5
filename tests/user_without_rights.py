"""Our own programs as a user who may do nothing, with an interpreter that this user can start.

In: arguments of Python. Out: a running process.
Must never: give that user a right.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

NOBODY: Final = 65534
_SOURCES: Final = Path(__file__).resolve().parents[1] / "src"
_AS_NOBODY: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@functools.cache
def find_interpreter() -> str:
    """One of our version; skips the test where there is none, or where the kernel forbids user namespaces."""
    if subprocess.run([*_AS_NOBODY, "unshare", "-Ur", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("user namespaces are forbidden here")
    for path in (sys.executable, "/usr/bin/python3"):
        # By way of a shell, since the first program is started with the rights of the one before.
        argv = [*_AS_NOBODY, "sh", "-c", f"exec {path} -c 'import sys; print(*sys.version_info[:2])'"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return path
    pytest.skip(f"no interpreter of this version that user {NOBODY} may start")


def start_as_nobody(*arguments: str) -> subprocess.Popen[str]:
    """Start Python with ``arguments`` and our packages; stdout and stderr are pipes of text."""
    packages = [str(_SOURCES), *(path for path in sys.path if "site-packages" in path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages), "TMPDIR": "/tmp"}
    argv = [*_AS_NOBODY, find_interpreter(), *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/")
