"""``thingwarden enforcer``: what it tells the small process that it becomes."""

from __future__ import annotations

import getpass
import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.cli.enforcer import process_settings
from thingwarden.config import Settings, load_settings
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.order import KEY_BYTES
from thingwarden.enforce.guard import GuardSettings
from thingwarden.enforce.key import read_key
from thingwarden.enforce.leases import LeaseFolder
from thingwarden.enforce.settings import read_settings


def _settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "thingwarden.toml"
    file.write_text(text)
    return load_settings(file).settings


def test_by_default_it_runs_dry_with_the_guards_own_bounds() -> None:
    told = process_settings(Settings(), "dry-run")
    assert told.guard_settings() == GuardSettings()
    assert (str(told.socket), told.releases_on_stop) == ("/run/thingwarden/dry-run.sock", False)


def test_hosts_that_policy_spares_are_the_guards_too(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[protected]\ngateways = ["10.0.0.1"]\nmacs = ["02:00:00:00:00:01"]\n'
        '[allowed]\nnetworks = ["10.1.0.0/16"]\nmacs = ["02:00:00:00:00:02"]\nvendors = ["02:00:5E"]\n'
    )
    settings = _settings(
        tmp_path,
        f'[policy]\nfile = "{policy}"\n[enforce]\non_stop = "release"\ncore_user = "{getpass.getuser()}"\n',
    )
    told = process_settings(settings, "dry-run")
    assert set(told.protected_networks) == {ipaddress.ip_network("10.0.0.1/32"), ipaddress.ip_network("10.1.0.0/16")}
    assert told.protected_macs == ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:5e")
    assert (told.releases_on_stop, told.core_uid) == (True, os.getuid())


def test_a_webhook_needs_its_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="webhook_url"):
        process_settings(Settings(), "webhook")
    settings = _settings(
        tmp_path, '[enforce]\nwebhook_url = "https://a.example/"\nwebhook_secret = "/s"\nwebhook_acts = ["isolate"]\n'
    )
    assert process_settings(settings, "webhook").options == {
        "url": "https://a.example/",
        "secret": "/s",
        "certificates": None,
        "acts": ["isolate"],
        "may_be_plain": False,
    }


def test_a_kind_or_user_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        process_settings(Settings(), "abacus")
    with pytest.raises(ConfigError, match="nobody-of-that-name"):
        process_settings(_settings(tmp_path, '[enforce]\ncore_user = "nobody-of-that-name"\n'), "dry-run")


def test_a_key_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    assert main(["enforcer", "--new-key", str(key)]) == 0
    assert len(read_key(key)) == KEY_BYTES
    before = key.read_bytes()
    assert main(["enforcer", "--new-key", str(key)]) == 2
    assert key.read_bytes() == before
    assert "never replaced" in capsys.readouterr().err


def test_what_the_process_would_be_told_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enforcer", "--show"]) == 0
    assert read_settings(capsys.readouterr().out).kind == "dry-run"


@pytest.mark.parametrize("words", [[], ["--reaper"]])
def test_it_becomes_the_small_process(tmp_path: Path, words: list[str]) -> None:
    key = tmp_path / "key"
    assert main(["enforcer", "--new-key", str(key)]) == 0
    file = tmp_path / "thingwarden.toml"
    file.write_text(f'[enforce]\nkey = "{key}"\nrun_folder = "{tmp_path}"\nstate_folder = "{tmp_path}"\n')
    argv = [sys.executable, "-m", "thingwarden", "enforcer", *words, "--config", str(file)]
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the folder it was started in')")
    argv.insert(1, "-P")
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, cwd=tmp_path)
    expected = "thingwarden.enforce.reaper" if words else "thingwarden.enforce"
    deadline_s = time.monotonic() + 15
    try:
        while f"\0{expected}\0" not in Path(f"/proc/{process.pid}/cmdline").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        leases = LeaseFolder(str(tmp_path / "leases"))
        while not (leases.has_reaper() if words else (tmp_path / "dry-run.sock").exists()):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
