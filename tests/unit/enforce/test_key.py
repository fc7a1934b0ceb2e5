"""The key's file: made whole and once, believed only where nobody else could read or choose it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.order import KEY_BYTES
from thingwarden.enforce.key import key_at, make_key, read_key


def test_a_key_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    key = key_at(path)
    assert len(key) == KEY_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["key"]
    assert key_at(path) == read_key(path) == key


def test_two_keys_differ(tmp_path: Path) -> None:
    assert make_key(tmp_path / "a") != make_key(tmp_path / "b")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    with pytest.raises(ConfigError, match="exists"):
        make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == key
    assert len(list(tmp_path.iterdir())) == 1


def test_many_that_want_one_get_the_same(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(key_at(tmp_path / "key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620, 0o610, 0o601])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="lets others in"):
        read_key(tmp_path / "key")


def test_a_group_may_read_it(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    assert read_key(tmp_path / "key") == key


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33])
def test_another_length_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="32 bytes"):
        read_key(path)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, why in (("link", "link"), ("pipe", "no plain file"), ("missing", "No such file")):
        with pytest.raises(ConfigError, match=why):
            read_key(tmp_path / name)


@pytest.mark.root
def test_somebody_elses_key_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    os.chown(tmp_path / "key", 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        read_key(tmp_path / "key")


def test_where_no_key_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="key"):
        key_at(tmp_path / "file" / "key")
