"""What a lab leaves when it dies: it is found and removed, and what lives is spared."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from lab_host_builder import held_lab
from thingwarden.lab.real.leftover import (
    NAMESPACES,
    SCRATCH_PREFIX,
    clean,
    new_prefix,
    remove_namespaces,
    scratch_folder,
)

PATIENCE_S = 5.0


def _ends(pid: int) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}/exe").exists()


def test_an_owner_is_named_by_its_id_and_its_start() -> None:
    pid, started, number = new_prefix().removeprefix("tw-").split(".")
    assert int(pid, 16) == os.getpid()
    assert int(started, 16) > 0
    assert new_prefix() == f"tw-{pid}.{started}.{int(number, 16) + 1:x}"


def test_a_folder_in_use_is_spared_and_gone_at_its_end() -> None:
    with scratch_folder() as folder:
        assert str(folder) not in clean()
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_nobody_holds_is_removed_with_what_it_holds() -> None:
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
    (folder / "capture.pcap").write_bytes(b"x")
    assert str(folder) in clean()
    assert not folder.exists()


@pytest.mark.root
def test_a_killed_labs_programs_die_and_clean_removes_the_rest() -> None:
    with held_lab() as (process, pid, namespace, scratch):
        process.kill()
        process.wait()
    assert _ends(pid)
    # A program that was not spawned by the lab's own hand, such as a tool's child, may live on.
    stray = subprocess.Popen(["ip", "netns", "exec", namespace, "sleep", "300"])
    while Path(f"/proc/{stray.pid}/comm").read_text() != "sleep\n":
        time.sleep(0.01)
    removed = clean()
    assert stray.wait(PATIENCE_S) != 0
    assert namespace in removed
    assert scratch in removed
    assert not list(NAMESPACES.glob(f"tw-{process.pid:x}.*"))
    assert not Path(scratch).exists()


@pytest.mark.root
def test_a_living_lab_is_spared() -> None:
    with held_lab() as (process, pid, namespace, scratch):
        removed = clean()
        assert namespace not in removed
        assert scratch not in removed
        assert (NAMESPACES / namespace).exists()
        assert Path(f"/proc/{pid}/exe").exists()
        process.terminate()
        process.wait()
        assert not (NAMESPACES / namespace).exists()


@pytest.mark.root
def test_a_reused_process_id_protects_nothing() -> None:
    mine = f"{new_prefix()}-camera"
    pid, started, number = mine.removesuffix("-camera").removeprefix("tw-").split(".")
    stale = f"tw-{pid}.{int(started, 16) - 1:x}.{number}-camera"
    for name in (mine, stale):
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        removed = clean()
        assert stale in removed
        assert mine not in removed
    finally:
        remove_namespaces([mine, stale])
    assert not (NAMESPACES / mine).exists()
