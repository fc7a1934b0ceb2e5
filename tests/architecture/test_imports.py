"""The dependency rule holds: contracts of pyproject.toml, and what a running sensor really imports."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from thingwarden.config import PACKAGED_SAMPLE

TOO_HEAVY_FOR_A_GATEWAY = {"torch", "pandas", "pyarrow", "scipy", "matplotlib", "sklearn", "lightgbm", "onnx"}

PURE_STAGES = ("domain", "encode", "detect", "respond", "pipeline")


def test_import_contracts_hold(repository: Path) -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    finished = subprocess.run([lint_imports, "--no-cache"], cwd=repository, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout


def test_every_pure_stage_that_exists_is_under_the_purity_contract(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    contracts = {contract["name"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}
    listed = set(contracts["The kernel is pure"]["source_modules"])
    package = repository / "src" / "thingwarden"
    existing = {
        f"thingwarden.{stage}"
        for stage in PURE_STAGES
        if (package / stage).is_dir() or (package / f"{stage}.py").is_file()
    }
    assert existing == listed


def _imported_by(statement: str) -> set[str]:
    """Names of the top-level modules that a fresh interpreter holds after the statement."""
    script = (
        "import sys, json\n"
        f"{statement}\n"
        "names = sorted({name.split('.')[0] for name in sys.modules})\n"
        "print(json.dumps(names), file=sys.stderr)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(finished.stderr.splitlines()[-1]))


def test_the_command_line_starts_without_any_stage_or_third_party_but_click() -> None:
    imported = _imported_by("import thingwarden.cli")
    assert not {"numpy", "pydantic", "rich", "onnxruntime", *TOO_HEAVY_FOR_A_GATEWAY} & imported


@pytest.mark.parametrize("command", ["replay", "demo"])
def test_judging_traffic_imports_nothing_that_a_gateway_cannot_carry(command: str) -> None:
    words = ["demo"] if command == "demo" else ["replay", str(PACKAGED_SAMPLE), "--no-journal"]
    imported = _imported_by(f"from thingwarden.cli import main\nassert main({words!r}) == 0")
    assert "onnxruntime" in imported, "the model did not run, so the test shows nothing"
    assert not TOO_HEAVY_FOR_A_GATEWAY & imported
