"""What every command shares: JSON lines without surprises, text that a terminal cannot obey."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from thingwarden.cli.invocation import Invocation, needs_extra, printable, quantity, table
from thingwarden.domain.errors import RequestError


def test_emit_writes_one_line_with_its_type_first(capsys: pytest.CaptureFixture[str]) -> None:
    Invocation().emit("device", {"name": "a\nb\x1b"})
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert list(json.loads(line)) == ["type", "name"]


def test_tables_take_cells_as_text_and_spell_out_control_characters() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(table("", ("name",), [("[bold]not markup[/bold] \x1b[2J",)]))
    shown = console.export_text()
    assert "[bold]not markup[/bold] \\x1b[2J" in shown


def test_printable_keeps_letters_of_every_script() -> None:
    assert printable("Kühlschrank 冷蔵庫\t") == "Kühlschrank 冷蔵庫\\t"


@pytest.mark.parametrize(("count", "said"), [(0, "0 flows"), (1, "1 flow"), (2345, "2,345 flows")])
def test_one_is_not_many(count: int, said: str) -> None:
    assert quantity(count, "flow") == said


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(RequestError) as refused, needs_extra("train"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert "torch" in refused.value.what
    assert "thingwarden[train]" in refused.value.hint


def test_a_missing_module_of_our_own_stays_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("train"):
        raise ModuleNotFoundError("No module named 'thingwarden.x'", name="thingwarden.x")


def test_what_a_command_opened_is_closed_last_first() -> None:
    invocation = Invocation()
    closed: list[str] = []
    invocation.on_close(lambda: closed.append("first opened"))
    invocation.on_close(lambda: closed.append("last opened"))
    invocation.close()
    assert closed == ["last opened", "first opened"]


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Invocation().progress("reading", "flows") as advance:
        advance(5, 10)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
