"""``thingwarden train``: what is refused before an hour of training; training itself is tested with its stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.cli import main


def test_a_missing_recipe_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.toml"
    assert main(["train", str(missing), "--data", str(tmp_path)]) == 2
    assert str(missing) in capsys.readouterr().err


@pytest.mark.torch
def test_a_wrong_recipe_is_refused_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text('name = "x"\n')
    assert main(["train", str(recipe), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert str(recipe) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
def test_a_folder_without_captures_is_refused(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--plan", str(repository / "recipes/folds.toml")]
    assert main(["train", str(repository / "recipes" / "nano.toml"), *words]) == 2
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err.startswith("error:")
