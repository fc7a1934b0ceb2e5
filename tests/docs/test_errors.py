"""docs/errors.md names every error class with its exit code."""

from __future__ import annotations

from pathlib import Path

from thingwarden.cli.app import EXIT_BROKEN_PIPE, EXIT_BUG, EXIT_INTERRUPTED
from thingwarden.domain.errors import ThingwardenError


def test_every_error_class_is_documented_with_its_exit_code(repository: Path) -> None:
    text = (repository / "docs" / "errors.md").read_text()
    for error_class in ThingwardenError.__subclasses__():
        assert f"| `{error_class.__name__}` | {error_class.exit_code} |" in text
    assert f"| anything else | {EXIT_BUG} |" in text
    for exit_code in (EXIT_INTERRUPTED, EXIT_BROKEN_PIPE):
        assert f"| {exit_code} |" in text
