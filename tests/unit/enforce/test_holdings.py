"""The file of what the guard counts survives restarts, torn lines and full disks."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from enforcer_builder import KEY
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.holdings import COMPACT_ABOVE_LINES, HoldingsFile, Remembered
from thingwarden.testing import build_decision


def _filled(folder: Path) -> HoldingsFile:
    holdings = HoldingsFile(folder, "boot", KEY)
    holdings.rewrite(Remembered(lead_s=900.0), boot_s=100.0)
    holdings.add_hold(build_decision(decision_id="00000000000a"), guard_s=1001.0, boot_s=101.0)
    holdings.add_hold(build_decision(decision_id="00000000000b", approved_by="ada"), guard_s=1002.0, boot_s=102.0)
    holdings.add_end("00000000000a")
    return holdings


def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert HoldingsFile(tmp_path / "new", "boot", KEY).load(5.0) == Remembered()


def test_what_was_written_is_remembered(tmp_path: Path) -> None:
    _filled(tmp_path).close()
    remembered = HoldingsFile(tmp_path, "boot", KEY).load(200.0)
    assert remembered.lead_s == 900.0
    assert list(remembered.decisions.values()) == [build_decision(decision_id="00000000000b", approved_by="ada")]
    assert remembered.orders == [(101.0, False), (102.0, True)]


def test_another_start_of_the_machine_keeps_the_time_but_no_uptimes(tmp_path: Path) -> None:
    _filled(tmp_path).close()
    remembered = HoldingsFile(tmp_path, "another", KEY).load(boot_s=2.0)
    assert remembered.lead_s + 2.0 == 1002.0
    assert not remembered.orders


def test_a_torn_last_line_is_ignored_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    _filled(tmp_path).close()
    file = tmp_path / "holdings.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    holdings = HoldingsFile(tmp_path, "boot", KEY)
    assert set(holdings.load(200.0).decisions) == {"00000000000a", "00000000000b"}
    holdings.close()
    for damaged in (whole.replace(b'"act"', b'"cat"', 1), b"x" + whole, whole.replace(b'"clock":[', b'"clock":["', 1)):
        file.write_bytes(damaged)
        holdings = HoldingsFile(tmp_path, "boot", KEY)
        with pytest.raises(ConfigError, match=r"line [123]: damaged"):
            holdings.load(200.0)
        holdings.close()


def test_a_decision_that_somebody_else_wrote_is_not_believed(tmp_path: Path) -> None:
    _filled(tmp_path).close()
    file = tmp_path / "holdings.jsonl"
    whole = file.read_bytes()
    signature = whole.index(b'"signature":"') + 13
    other_digit = b"1" if whole[signature : signature + 1] == b"0" else b"0"
    for forged in (
        whole.replace(b'"port":6667', b'"port":6668', 1),
        whole[:signature] + other_digit + whole[signature + 1 :],
        whole.replace(b'"signature"', b'"a_signature"', 1),
    ):
        file.write_bytes(forged)
        holdings = HoldingsFile(tmp_path, "boot", KEY)
        with pytest.raises(ConfigError, match="damaged"):
            holdings.load(200.0)
        holdings.close()


def test_a_folder_has_one_enforcer(tmp_path: Path) -> None:
    first = HoldingsFile(tmp_path, "boot", KEY)
    with pytest.raises(ConfigError, match="another enforcer uses it"):
        HoldingsFile(tmp_path, "boot", KEY)
    first.close()
    HoldingsFile(tmp_path, "boot", KEY).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/below"):
        HoldingsFile(tmp_path / "file" / "below", "boot", KEY)


def test_a_long_file_asks_to_be_written_anew(tmp_path: Path) -> None:
    holdings = _filled(tmp_path)
    for _ in range(COMPACT_ABOVE_LINES):
        holdings.add_clock(1003.0, 103.0)
    assert holdings.wants_rewrite
    holdings.rewrite(holdings.load(104.0), 104.0)
    assert not holdings.wants_rewrite
    for _ in range(COMPACT_ABOVE_LINES // 2):
        holdings.add_clock(1003.0, 103.0)
    assert not holdings.wants_rewrite
    holdings.rewrite(holdings.load(104.0), 104.0)
    assert set(holdings.load(105.0).decisions) == {"00000000000b"}
    assert len((tmp_path / "holdings.jsonl").read_bytes().splitlines()) == 5


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    holdings = _filled(tmp_path)
    before = (tmp_path / "holdings.jsonl").read_bytes()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, len(before) + 10))
        try:
            holdings.add_hold(build_decision(), 1003.0, 103.0)
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert (tmp_path / "holdings.jsonl").read_bytes() == before
