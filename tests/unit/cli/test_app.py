"""The root command: overview, version, and how every kind of failure ends."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from thingwarden import __version__
from thingwarden.cli import app
from thingwarden.domain.errors import (
    ArtifactError,
    ConfigError,
    EnforcementError,
    InputError,
    RequestError,
    ThingwardenError,
)


class _FailingGroup(app.LazyGroup):
    """The root group with one command that fails as told."""

    failure: BaseException = RuntimeError("unset")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        def fail() -> None:
            raise self.failure

        return click.Command("fail", callback=fail)


def _run_failing(monkeypatch: pytest.MonkeyPatch, failure: BaseException, *words: str) -> int:
    group = _FailingGroup("thingwarden", params=app.root.params, callback=app.root.callback)
    group.failure = failure
    monkeypatch.setattr(app, "root", group)
    return app.main([*words, "fail"])


@pytest.mark.parametrize(
    ("error_class", "exit_code"),
    [(ConfigError, 2), (RequestError, 2), (InputError, 3), (ArtifactError, 4), (EnforcementError, 5)],
)
def test_known_errors_give_three_lines_and_their_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error_class: type[ThingwardenError],
    exit_code: int,
) -> None:
    assert _run_failing(monkeypatch, error_class("the file", "is odd", "mend it")) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["error: the file", "why:   is odd", "hint:  mend it"]


def test_anything_else_is_our_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_failing(monkeypatch, ZeroDivisionError("by zero")) == 70
    shown = capsys.readouterr().err
    assert "this is our bug" in shown
    assert "ZeroDivisionError" in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_failing(monkeypatch, InputError("the file", "is odd"), "--debug") == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_operating_system_error_on_a_file_is_the_operators(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run_failing(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "out.json")) == 2
    assert "out.json" in capsys.readouterr().err


def test_interruption_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_failing(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_control_characters_of_hostile_names_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _run_failing(monkeypatch, InputError("a\x1b[2Jb\nc", "is odd"))
    assert capsys.readouterr().err.splitlines()[0] == r"error: a\x1b[2Jb\nc"


def test_an_unknown_command_is_the_callers(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["nonsense"]) == 2
    assert "see: thingwarden --help" in capsys.readouterr().err


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["config"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage: thingwarden config" in captured.err


def test_a_wrong_option_points_to_the_commands_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["config", "show", "--nonsense"]) == 2
    assert "see: thingwarden config show --help" in capsys.readouterr().err


def test_every_command_of_the_overview_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    for name in app.COMMANDS:
        assert app.main([name, "--help"]) == 0
        assert f"Usage: thingwarden {name}" in capsys.readouterr().out
    assert app.main([]) == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in app.COMMANDS)


def test_version_is_shown_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run([sys.executable, "-m", "thingwarden", "--version"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished.stdout == f"thingwarden, version {__version__}\n"
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert processor_s < 0.4


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m thingwarden config default; echo $? >'{tmp_path / 'code'}'"
    finished = subprocess.run(["sh", "-c", f"({command}) | true"], capture_output=True, text=True)
    assert finished.stderr == ""
    assert (tmp_path / "code").read_text() in {"141\n", "0\n"}
