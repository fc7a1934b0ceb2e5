"""README.md: its commands run, its links lead somewhere, its make targets exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.config import PACKAGED_SAMPLE

LABELLED_LOG = (
    "#separator \\x09\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\tlabel\tdetailed-label\n"
    "1700000000.0\tC1\t192.168.1.5\t40000\t192.168.1.1\t53\tudp\tSF\tBenign\t-\n"
)


@pytest.fixture(scope="module")
def readme() -> str:
    """README.md."""
    return (Path(__file__).resolve().parents[2] / "README.md").read_text()


def _code_lines(page: str) -> Iterator[str]:
    """Lines of fenced blocks, without trailing comments."""
    for block in re.findall(r"^```\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            yield line.split("  #")[0].strip()


def test_commands_of_the_readme_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for name in ("capture.pcap.gz", "capture.pcapng"):
        shutil.copy(PACKAGED_SAMPLE, tmp_path / name)
    assert main(["meter", "capture.pcap.gz", "-o", "conn.log"]) == 0
    (tmp_path / "conn.log.labeled").write_text(LABELLED_LOG)
    commands = [line for line in _code_lines(readme) if line.startswith("thingwarden ")]
    assert commands
    for command in commands:
        words = shlex.split(command.split(" > ")[0])[1:]
        if words[:2] == ["incidents", "show"]:
            words[2] = _first_incident(capsys)
        assert main(words) == 0, f"{command}: {capsys.readouterr().err}"


def _first_incident(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["incidents", "--json"]) == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[0])["incident_id"])


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(repository: Path, page: str) -> None:
    makefile = (repository / "Makefile").read_text()
    named = set(re.findall(r"^make ([a-z]+)", "\n".join(_code_lines((repository / page).read_text())), re.MULTILINE))
    assert named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_links_of_every_page_lead_somewhere(repository: Path) -> None:
    pages = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(repository)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert not broken
