"""Given up is given up: by this process and by all that it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from thingwarden.enforce.privilege import CAP_NET_ADMIN, permitted_capabilities

SCRIPT = """
import subprocess
from thingwarden.enforce.privilege import keep_only, permitted_capabilities
keep_only(frozenset({kept}))
print(*sorted(permitted_capabilities()))
child = ["grep", "-E", "^(CapPrm|CapBnd|NoNewPrivs)", "/proc/self/status"]
print(*subprocess.run(child, capture_output=True, text=True).stdout.split()[1::2])
"""


def _run(kept: str) -> list[str]:
    argv = [sys.executable, "-c", SCRIPT.replace("{kept}", kept)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.root
def test_one_capability_is_kept_and_handed_to_children() -> None:
    assert CAP_NET_ADMIN in permitted_capabilities(), "this test needs root"
    mask = f"{1 << CAP_NET_ADMIN:016x}"
    assert _run(f"{{{CAP_NET_ADMIN}}}") == [str(CAP_NET_ADMIN), f"{mask} {mask} 1"]


@pytest.mark.root
def test_all_can_be_given_up() -> None:
    assert CAP_NET_ADMIN in permitted_capabilities(), "this test needs root"
    nothing = "0" * 16
    assert _run("()") == ["", f"{nothing} {nothing} 1"]
