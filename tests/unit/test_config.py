"""Settings: every refusal names file, key, value and allowed range; the written default is read back."""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from thingwarden.config import (
    DetectSettings,
    JournalSettings,
    PolicySection,
    Settings,
    adjust_calibration,
    chosen_playbook,
    correlation_settings,
    find_config_file,
    find_problems,
    journal_path,
    key_path,
    load_settings,
    load_what_holds,
    policy_settings,
    setting_rows,
    write_toml,
)
from thingwarden.detect.correlate import CorrelationSettings
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce_section import EnforceSettings
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.rules import PolicySettings
from thingwarden.setting import MAX_FILE_BYTES


def _written(folder: Path, text: str) -> Path:
    file = folder / "thingwarden.toml"
    file.write_text(text)
    return file


def test_without_a_file_every_setting_is_the_default(tmp_path: Path) -> None:
    loaded = load_settings(environment={"HOME": str(tmp_path)})
    assert loaded.file is None
    assert loaded.settings == Settings()
    assert set(loaded.origin.values()) == {"default"}


def test_values_are_parsed_into_types_and_their_origin_is_the_file(tmp_path: Path) -> None:
    file = _written(tmp_path, '[network]\nlocal_prefixes = ["192.168.1.0/24"]\n')
    loaded = load_settings(file, {})
    assert loaded.settings.network.local_prefixes == (ipaddress.IPv4Network("192.168.1.0/24"),)
    assert loaded.origin["network.local_prefixes"] == str(file)
    assert loaded.origin["model.path"] == "default"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[detect]\nalarm_level_ratio = 1000\n", ("= 1000", "number, 0.25 to 4")),
        ('[detect]\nalarm_level_ratio = "many"\n', ("'many'", "number, 0.25 to 4")),
        ("[detect]\nalarm_level_ratio = true\n", ("True", "number, 0.25 to 4")),
        ("[detect]\nalarm_level_ratio = nan\n", ("nan", "number, 0.25 to 4")),
        ("[detect]\nsensitivity = 3\n", ("detect.sensitivity", "unknown setting", "alarm_level_ratio")),
        ("[detect]\nidle_s = 5000\nresume_s = 60\n", ("detect", "resume_s = 60.0 is below idle_s = 5000.0")),
        ("[detection]\nx = 1\n", ("detection", "unknown setting", "sections network")),
        ('[network]\nlocal_prefixes = ["router"]\n', ("network.local_prefixes", "'router'", "192.168.1.0/24")),
        ('[network]\nlocal_prefixes = "10.0.0.0/8"\n', ("network.local_prefixes", "'10.0.0.0/8'", "list of networks")),
        ('[network]\nlocal_prefixes = ["192.168.1.7/24"]\n', ("network.local_prefixes", "host bits set")),
        ("[policy]\nfile = 3\n", ("policy.file", "3", "path of a TOML file")),
        ("network = 3\n", ("network", "3")),
        ("[model]\npath = 3\n", ("model.path", "3", "path of a folder")),
    ],
)
def test_a_refusal_names_file_key_value_and_allowed_range(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    file = _written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_settings(file, {})
    said = " ".join((refused.value.what, refused.value.why, refused.value.hint))
    assert str(file) in refused.value.what
    for part in expected:
        assert part in said


def test_all_problems_are_found_and_the_first_error_says_how_many_more(tmp_path: Path) -> None:
    file = _written(tmp_path, '[detect]\nfoo = 1\n[network]\nlocal_prefixes = ["x"]\n[model]\nthreads_count = 0\n')
    problems = find_problems(file)
    assert {problem.key for problem in problems} == {"detect.foo", "network.local_prefixes", "model.threads_count"}
    with pytest.raises(ConfigError, match=r"network\.local_prefixes") as refused:
        load_settings(file, {})
    assert "2 more" in refused.value.hint


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[detect\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load_settings(file, {})
    assert why in refused.value.why
    assert str(file) in refused.value.what


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_config_file(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match="no such file"):
        find_config_file(None, {"THINGWARDEN_CONFIG": str(tmp_path / "missing.toml")})


def test_the_file_is_looked_for_by_argument_then_variable_then_user_folder(tmp_path: Path) -> None:
    user_file = tmp_path / "thingwarden" / "config.toml"
    user_file.parent.mkdir()
    named = [user_file, tmp_path / "variable.toml", tmp_path / "argument.toml"]
    for file in named:
        file.write_text("")
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert find_config_file(None, environment) == user_file
    environment["THINGWARDEN_CONFIG"] = str(named[1])
    assert find_config_file(None, environment) == named[1]
    assert find_config_file(named[2], environment) == named[2]


def test_the_written_default_is_read_back_as_the_default(tmp_path: Path) -> None:
    text = write_toml(Settings())
    assert load_settings(_written(tmp_path, text), {}).settings == Settings()
    sections = tomllib.loads(text)
    assert list(sections) == list(Settings.model_fields)


def test_a_changed_setting_survives_writing(tmp_path: Path) -> None:
    odd_path = tmp_path / 'a "quoted" \\ path.sqlite'
    settings = Settings(journal=JournalSettings(path=odd_path))
    assert load_settings(_written(tmp_path, write_toml(settings)), {}).settings == settings


def test_every_setting_says_what_it_does_and_what_it_accepts() -> None:
    rows = list(setting_rows(Settings()))
    assert len({row.key for row in rows}) == len(rows)
    assert all(row.description.endswith(".") and row.allowed for row in rows)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().detect.alarm_level_ratio = 2.0  # type: ignore[misc]


def test_the_journal_is_in_the_state_folder_unless_set(tmp_path: Path) -> None:
    assert journal_path(JournalSettings(), {"HOME": "/h"}) == Path("/h/.local/state/thingwarden/journal.sqlite")
    assert journal_path(JournalSettings(), {"HOME": "/h", "XDG_STATE_HOME": "/s"}).parent == Path("/s/thingwarden")
    assert journal_path(JournalSettings(path=tmp_path / "j.sqlite"), {}) == tmp_path / "j.sqlite"


def test_the_named_policy_is_read(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[orders]\nmax_devices_count = 1\n")
    settings = load_settings(_written(tmp_path, f'[policy]\nfile = "{policy}"\n'), {}).settings
    assert policy_settings(settings) == PolicySettings(max_devices=1)
    policy.write_text("[orders]\nmax_devices_count = -1\n")
    with pytest.raises(ConfigError, match=r"max_devices_count"):
        policy_settings(settings)


def test_the_defaults_are_those_of_the_stages() -> None:
    assert policy_settings(Settings()) == PolicySettings()
    assert correlation_settings(DetectSettings()) == CorrelationSettings()
    assert adjust_calibration(Calibration(), DetectSettings()) == Calibration()


def test_the_alarm_level_is_scaled_and_nothing_else() -> None:
    calibration = Calibration(alarm_level_nats=12.0)
    adjusted = adjust_calibration(calibration, DetectSettings(alarm_level_ratio=0.5))
    assert adjusted == dataclasses.replace(calibration, alarm_level_nats=6.0)


def test_the_key_lies_beside_the_journal_unless_named() -> None:
    assert key_path(Settings(), {"XDG_STATE_HOME": "/state"}) == Path("/state/thingwarden/key")
    named = Settings(enforce=EnforceSettings(key=Path("/etc/key")))
    assert key_path(named, {"XDG_STATE_HOME": "/state"}) == Path("/etc/key")


def test_what_holds_of_a_broken_file_is_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    file = _written(tmp_path, '[journal]\npath = "/j"\n[detect]\nidle_s = "long"\n[unheard_of]\na = 1\n')
    settings, problems = load_what_holds(file, {})
    assert settings.journal.path == Path("/j")
    assert settings.detect == Settings().detect
    assert len(problems) == 2
    assert "detect" in problems[0] + problems[1]


@pytest.mark.parametrize("text", ["", "[journal]\n"])
def test_of_a_sound_file_all_holds(tmp_path: Path, text: str) -> None:
    assert load_what_holds(_written(tmp_path, text), {}) == (Settings(), ())


@pytest.mark.parametrize("text", ["no toml at all [", "journal = 3\n"])
def test_of_no_configuration_nothing_holds_and_it_is_told(tmp_path: Path, text: str) -> None:
    settings, problems = load_what_holds(_written(tmp_path, text), {})
    assert settings == Settings()
    assert len(problems) == 1


def test_a_missing_file_is_told_and_the_defaults_hold(tmp_path: Path) -> None:
    settings, problems = load_what_holds(tmp_path / "none.toml", {})
    assert (settings, len(problems)) == (Settings(), 1)


def test_the_playbook_is_the_named_file_or_the_packaged_one(tmp_path: Path) -> None:
    assert chosen_playbook(PolicySection()) == load_playbook()
    file = tmp_path / "playbook.toml"
    file.write_text("version = 1\n")
    assert chosen_playbook(PolicySection(playbook=file)).rules == ()
    file.write_text('version = 1\n[[rule]]\nclass = "c2"\n')
    with pytest.raises(ConfigError, match="rule 1") as refused:
        chosen_playbook(PolicySection(playbook=file))
    assert str(file) in refused.value.what
    with pytest.raises(ConfigError, match="playbook"):
        chosen_playbook(PolicySection(playbook=tmp_path / "none.toml"))
