"""The next stage's files, and the login before."""

from __future__ import annotations

import pytest

from lab_act_builder import lan_address, perform, states_of

CAMERA = lan_address("camera")


@pytest.mark.parametrize("way", ["http", "tls", "messages"])
@pytest.mark.parametrize("file_bytes", [2_000, 300_000])
def test_file_of_every_size_comes(way: str, file_bytes: int) -> None:
    flows = perform("download", {"way": way, "file_bytes": file_bytes})
    assert states_of(flows) == ["SF"]
    assert file_bytes <= flows.resp_bytes[0] < 1.1 * file_bytes + 6_000


@pytest.mark.parametrize("file_bytes", [1_000, 30_000, 30_720])
def test_tftp_answers_block_by_block(file_bytes: int) -> None:
    flows = perform("download", {"way": "tftp", "file_bytes": file_bytes})
    blocks = file_bytes // 512 + 1
    assert states_of(flows) == ["SF"]
    assert flows.resp_bytes[0] == file_bytes + 4 * blocks
    assert flows.orig_packets[0] == 1 + blocks


def test_ftp_opens_a_second_connection_for_the_data() -> None:
    flows = perform("download", {"way": "ftp", "file_bytes": 60_000})
    assert states_of(flows) == ["SF", "SF"]
    assert flows.resp_port.tolist()[0] == 21
    assert flows.resp_bytes[1] == 64_000


def test_several_files_one_after_the_other() -> None:
    flows = perform("download", {"files": 4, "file_bytes": 5_000, "gap_s": 2.0})
    assert states_of(flows) == ["SF"] * 4


def test_drawn_port_is_served() -> None:
    flows = perform("download", {"port": 12_345})
    assert states_of(flows) == ["SF"]
    assert flows.resp_port.tolist() == [12_345]


def test_gone_drop_host_is_asked_in_vain() -> None:
    flows = perform("download", {"targets": ("198.51.100.200",), "patience_s": 2.0})
    assert states_of(flows) == ["S0"]


@pytest.mark.parametrize("commands", [3, 40])
def test_login_types_its_lines(commands: int) -> None:
    flows = perform("login", {"targets": (CAMERA,), "commands": commands, "line_bytes": 60, "think_s": 0.1})
    assert states_of(flows) == ["SF"]
    assert 40 * commands < flows.orig_bytes[0] < 70 * commands + 150
