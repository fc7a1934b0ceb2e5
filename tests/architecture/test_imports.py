"""The dependency rule holds: contracts of pyproject.toml, and what a running sensor really imports."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

TOO_HEAVY_FOR_A_GATEWAY = ("torch", "pandas", "pyarrow", "matplotlib", "sklearn", "lightgbm", "onnx")

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


def _imported_by(statement: str) -> list[str]:
    """Names of the top-level modules that a fresh interpreter holds after the statement."""
    script = f"import sys, json\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(finished.stdout.splitlines()[-1])
    return modules


def test_the_command_line_starts_without_any_stage_or_third_party_but_click() -> None:
    imported = _imported_by("import thingwarden.cli")
    assert not {"numpy", "pydantic", "rich", "onnxruntime", *TOO_HEAVY_FOR_A_GATEWAY}.intersection(imported)
