"""``thingwarden evaluate``: labels in, figures out, in the shape that is documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.cli import main
from thingwarden.cli.evaluate import LABEL_NAMES
from thingwarden.domain.taxonomy import CLASSES

HEADER = (
    "#separator \\x09\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t"
    "conn_state\tlabel\tdetailed-label\n"
)


def _labelled(folder: Path, *labels: tuple[str, str]) -> Path:
    rows = [
        f"{1700000000 + 10 * row}.0\tC{row}\t192.168.1.5\t{40000 + row}\t192.168.1.1\t53\tudp\tdns\t0.01\t30\t60\tSF\t"
        f"{label}\t{detail}\n"
        for row, (label, detail) in enumerate(labels)
    ]
    file = folder / "conn.log.labeled"
    file.write_text(HEADER + "".join(rows))
    return file


def _figures(text: str) -> dict[str, Any]:
    (line,) = text.splitlines()
    figures: dict[str, Any] = json.loads(line)
    return figures


def test_the_labels_offered_are_the_classes() -> None:
    assert list(LABEL_NAMES) == [attack_class.value for attack_class in CLASSES]


def test_one_object_of_the_documented_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _labelled(tmp_path, ("Benign", "-"), ("Malicious", "C&C"), ("Benign", "-"))
    assert main(["evaluate", str(file), "--json"]) == 0
    figures = _figures(capsys.readouterr().out)
    assert list(figures) == ["rows", "patterns", "by_row", "by_pattern", "incidents"]
    assert (figures["rows"], figures["patterns"]) == (3, 2)
    for weighting in ("by_row", "by_pattern"):
        assert list(figures[weighting]) == ["tpr", "fpr", "macro_f1", "per_class"]
    assert list(figures["incidents"]) == ["true", "false", "device_days", "false_per_device_day"]
    assert set(figures["by_row"]["per_class"]) == {"benign", "c2"}


def test_what_is_absent_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _labelled(tmp_path, ("Benign", "-"))
    assert main(["evaluate", str(file), "--json"]) == 0
    figures = _figures(capsys.readouterr().out)
    assert figures["by_row"]["tpr"] is None
    assert figures["by_row"]["fpr"] is not None


def test_a_label_speaks_for_every_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _labelled(tmp_path, ("Benign", "-"), ("Malicious", "C&C"))
    assert main(["evaluate", str(file), "--label", "scan", "--json"]) == 0
    figures = _figures(capsys.readouterr().out)
    assert set(figures["by_row"]["per_class"]) == {"scan"}
    assert figures["by_row"]["fpr"] is None


def test_files_are_judged_apart_and_counted_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _labelled(tmp_path, ("Benign", "-"), ("Benign", "-"))
    assert main(["evaluate", str(file), str(file), "--json"]) == 0
    figures = _figures(capsys.readouterr().out)
    assert (figures["rows"], figures["patterns"]) == (4, 2)


def test_people_see_both_weightings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(_labelled(tmp_path, ("Benign", "-")))]) == 0
    shown = capsys.readouterr().out
    assert "by row" in shown
    assert "by pattern" in shown
    assert "Incidents:" in shown


def test_input_without_labels_needs_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "conn.log"
    text = _labelled(tmp_path, ("Benign", "-")).read_text()
    file.write_text(text.replace("\tlabel\tdetailed-label", "").replace("\tBenign\t-", ""))
    assert main(["evaluate", str(file)]) == 3
    assert "--label" in capsys.readouterr().err
