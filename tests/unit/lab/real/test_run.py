"""A run's timeline carried out for real, in a few seconds: cuts, power, acts that cannot happen, acts that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.real.run import run_scenario
from thingwarden.lab.truth import read_timing, read_truth

HEAD = """
name = "tiny"
about = "Two plugs and a hub for a few seconds."
duration_s = 8.0
seed = 1
exclude_from_training = false
condition = "wired"
ip_versions = [4, 6]
devices = [
  {name = "hub", kind = "hub", host = 2},
  {name = "plug", kind = "plug", host = 31},
  {name = "late", kind = "plug", host = 32, joins = true},
]
"""

HAPPENS = """
[[events]]
kind = "power_cut"
by = ["plug"]
begins_ratio = [0.3, 0.3]
lasts_s = 2.0

[[events]]
kind = "download"
by = ["hub"]
on = ["drop.invalid"]
begins_ratio = [0.4, 0.4]
lasts_s = 2.0

[[events]]
kind = "download"
by = ["plug"]
on = ["drop.invalid"]
begins_ratio = [0.5, 0.5]
lasts_s = 0.2
"""


def write(tmp_path: Path, text: str) -> Path:
    """A recipe's path."""
    path = tmp_path / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.root
def test_a_timeline_is_carried_out_and_measured(tmp_path: Path) -> None:
    said: list[str] = []
    done_s: list[float] = []
    manifest = run_scenario(
        write(tmp_path, HEAD + HAPPENS),
        tmp_path / "out",
        report=said.append,
        progress=lambda passed_s, of_s: done_s.append(passed_s / of_s),
    )
    content = json.loads(manifest.read_text(encoding="utf-8"))
    assert content["failures"] == []
    assert content["malicious_flow_count"] >= 1
    truth, timing = (
        read(tmp_path / "out" / f"{name}.json") for read, name in ((read_truth, "truth"), (read_timing, "timing"))
    )
    (download,) = {interval.planned for interval in truth.intervals if interval.who == "hub"}
    begins_s, ends_s = timing.spans[download]
    assert 3.1 < begins_s < 3.5
    assert begins_s < ends_s < 6.0
    assert any("plug is off: nothing happens" in line for line in said)
    assert sum("power" in line for line in said) == 2
    assert done_s == sorted(done_s)
    assert 0.9 < done_s[-1] < 1.1


@pytest.mark.root
def test_an_act_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nmap").write_text("#!/bin/sh\necho it is out of order\nexit 3\n", encoding="utf-8")
    (tools / "nmap").chmod(0o755)
    scan = (
        '\n[[events]]\nkind = "scan_vertical"\nby = ["hub"]\non = ["plug"]\nbegins_ratio = [0.1, 0.1]\nlasts_s = 2.0\n'
    )
    with pytest.raises(ConfigError, match="out of order"):
        run_scenario(write(tmp_path, HEAD + scan), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_condition_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="condition"):
        run_scenario(write(tmp_path, HEAD), tmp_path / "out", condition="moonlight")
    assert not (tmp_path / "out").exists()
