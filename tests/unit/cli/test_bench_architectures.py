"""``thingwarden bench architectures``: what it asks for, and what it refuses before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.cli import main

pytestmark = pytest.mark.torch


def test_one_recipe_is_no_comparison(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    words = ["--data", str(tmp_path), "--recipe", str(repository / "recipes" / "nano.toml"), "--out", str(tmp_path)]
    plan = ["--plan", str(repository / "recipes" / "folds.toml"), "--cells", str(tmp_path / "cells")]
    assert main(["bench", "architectures", *words, *plan]) == 2
    assert "two or more of different names" in capsys.readouterr().err
    assert not (tmp_path / "cells").exists()


def test_a_folder_without_captures_is_refused(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    recipes = [text for name in ("nano", "small") for text in ("--recipe", str(repository / f"recipes/{name}.toml"))]
    plan = ["--plan", str(repository / "recipes" / "folds.toml"), "--cells", str(tmp_path / "cells")]
    assert main(["bench", "architectures", "--data", str(tmp_path), *recipes, *plan, "--out", str(tmp_path)]) == 2
    assert "holds none of the public captures" in capsys.readouterr().err
