"""``thingwarden lab``: what is refused before a namespace is made; the run itself is tested with the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.cli import main


def test_a_missing_recipe_is_the_callers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.toml"
    assert main(["lab", "sample", "--recipe", str(missing), "--out", str(tmp_path / "out")]) == 2
    assert str(missing) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_recipe_is_refused_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text('name = "x"\nnonsense = 1\n')
    assert main(["lab", "sample", "--recipe", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert str(recipe) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--duration-s", "1")])
def test_options_out_of_range_are_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "sample", *option]) == 2
    assert option[0] in capsys.readouterr().err
