"""``thingwarden lab``: what it lists, draws and refuses; runs for real are tested end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.cli.lab import draw_timeline
from thingwarden.lab.recipe import find_recipe, list_scenarios, load_recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.truth import truth_from_schedule


def test_an_unknown_scenario_is_the_callers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "nowhere", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "scenario nowhere" in said
    assert "sample" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("world", [[], ["--simulated"]])
def test_a_wrong_recipe_is_refused_before_anything_is_made(
    world: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thingwarden.lab.real.rootless.is_rootless_needed", lambda: False)
    recipe = tmp_path / "wrong.toml"
    recipe.write_text('name = "x"\nnonsense = 1\n')
    assert main(["lab", "run", str(recipe), "--out", str(tmp_path / "out"), *world]) == 2
    assert str(recipe) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--duration-s", "1"), ("--condition", "moonlight")])
def test_options_out_of_range_are_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "describe", "sample", *option]) == 2
    assert option[0].removeprefix("--") in capsys.readouterr().err


def test_a_user_without_rights_is_sent_through_a_user_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("thingwarden.lab.real.rootless.is_rootless_needed", lambda: True)
    monkeypatch.setattr("thingwarden.lab.real.rootless.reexecute", lambda argv: asked.append(argv) or 7)
    monkeypatch.setattr("sys.argv", ["thingwarden", "lab", "run", "sample"])
    with pytest.raises(SystemExit) as left:
        main(["lab", "run", "sample", "--out", str(tmp_path)])
    assert left.value.code == 7
    assert [argv[1:] for argv in asked] == [["-m", "thingwarden", "lab", "run", "sample"]]


def test_every_packaged_scenario_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "list", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows.keys() == {recipe.name for recipe in list_scenarios()}
    sample = rows["sample"]
    assert (sample["type"], sample["attack_count"], sample["harmless_count"]) == ("lab_scenario", 5, 2)
    assert sample["is_for_training"] is False
    assert main(["lab", "list"]) == 0
    assert "sample" in capsys.readouterr().out


def test_a_scenario_is_described_with_its_timeline_and_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "describe", "sample", "--seed", "3", "--duration-s", "60", "--condition", "lte"]) == 0
    said = capsys.readouterr().out
    for part in (
        "seed 3, 60 s from",
        "camera-porch",
        "flood_syn-1  camera-porch",
        "#",
        "~",
        "T1046",
    ):
        assert part in said
    assert main(["lab", "describe", "sample", "--seed", "3", "--json"]) == 0
    truth = json.loads(capsys.readouterr().out)
    assert (truth["type"], truth["seed"]) == ("lab_truth", 3)
    assert len(truth["devices"]) == 10


def test_the_drawing_puts_marks_where_things_happen() -> None:
    truth = truth_from_schedule(draw_schedule(load_recipe(find_recipe("sample"))))
    ruler, *lines = draw_timeline(truth)
    assert ruler.split() == ["0:00", "2:45", "5:30"]
    assert len({len(line.rpartition(" ")[0]) for line in lines}) == 1
    (scan,) = (line for line in lines if line.startswith("scan"))
    track = scan.split()[2]
    assert 14 <= track.index("#") <= 19
    assert set(track) == {".", "#"}
    assert sum("~" in line for line in lines) == 2


def test_a_simulated_run_is_told_in_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["lab", "run", "sample", "--simulated", "--duration-s", "20", "--out", str(tmp_path / "out"), "--json"]
    assert main(argv) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["type"] == "lab_run"
    assert printed["manifest"]["world"] == "simulated"
    assert Path(printed["manifest_path"]).read_text(encoding="utf-8")


def test_nothing_to_clean_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "clean"]) == 0
    capsys.readouterr()
    assert main(["lab", "clean"]) == 0
    assert "Nothing was left behind." in capsys.readouterr().out
