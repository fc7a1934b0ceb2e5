"""Leases: whole or absent, over by whichever clock comes first, and after a restart of the machine."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.leases import Lease, LeaseFolder, read_boot_id, read_boot_s

LEASE = Lease(
    lease_id="00000000000a", kind="webhook", boot_id="boot", ends_at_boot_s=100.0, ends_at_s=5000.0, values={"a": 1}
)


def test_a_lease_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path / "leases"))
    folder.add(LEASE)
    assert LeaseFolder(folder.path).read(LEASE.lease_id) == LEASE
    assert folder.ids() == [LEASE.lease_id]
    for _ in range(2):
        folder.remove(LEASE.lease_id)
    assert folder.read(LEASE.lease_id) is None
    assert folder.ids() == []


def test_it_lapses_by_whichever_clock_comes_first_and_with_the_machine() -> None:
    assert LEASE.rest_s(wall_s=4000.0, boot_s=40.0, boot_id="boot") == 60.0
    assert LEASE.rest_s(wall_s=4990.0, boot_s=40.0, boot_id="boot") == 10.0
    assert LEASE.rest_s(wall_s=0.0, boot_s=100.0, boot_id="boot") == 0.0
    assert LEASE.rest_s(wall_s=6000.0, boot_s=0.0, boot_id="boot") == 0.0
    assert LEASE.rest_s(wall_s=0.0, boot_s=0.0, boot_id="another") == 0.0


def test_a_lease_can_be_made_to_lapse_at_once(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    folder.add(LEASE)
    folder.lapse(LEASE.lease_id)
    lease = folder.read(LEASE.lease_id)
    assert lease is not None
    assert lease.rest_s(0.0, 0.0, "boot") == 0.0
    folder.lapse("00000000000b")
    assert folder.ids() == [LEASE.lease_id]


def test_adding_wakes_the_one_reaper(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    assert not folder.has_reaper()
    bell = folder.listen()
    assert folder.has_reaper()
    os.read(bell, 100)
    folder.add(LEASE)
    assert os.read(bell, 100) == b"x"
    with pytest.raises(ConfigError, match="another reaper"):
        LeaseFolder(str(tmp_path)).listen()
    for _ in range(70_000):
        folder._ring()
    os.close(bell)
    assert not folder.has_reaper()


def test_a_damaged_lease_is_named(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    for text in ("", "{", "[]", '{"lease_id": "a"}', '{"a": 1}'):
        (tmp_path / "00000000000a.lease").write_text(text)
        with pytest.raises(ConfigError, match=r"00000000000a\.lease: damaged"):
            folder.read("00000000000a")


def test_a_disk_that_is_full_leaves_no_lease(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        try:
            folder.add(LEASE)
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["bell"]
    with pytest.raises(OSError, match="too long"):
        folder.add(LEASE._replace(values={"a": "x" * 20_000}))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        LeaseFolder(str(tmp_path / "file" / "below"))


def test_the_machine_tells_its_boot() -> None:
    assert len(read_boot_id()) == 36
    assert read_boot_s() > 0
