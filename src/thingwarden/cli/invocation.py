"""What every command shares: the common options, the settings, and the two ways of speaking.

In: ``--json``, ``--debug``, ``--config``. Out: JSON lines or rich tables on stdout, messages on stderr.
Must never: write anything but JSON to stdout under ``--json``; let a terminal obey bytes that came from a capture.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from thingwarden.config import LoadedSettings

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


class Invocation:
    """One run of one command.

    Attributes:
        wants_json: whether stdout carries JSON lines.
        is_debug: whether a failure shows its traceback.
        config_path: the file named by ``--config``; None to look in the usual places.
        exit_code: what a run without failure ends with.
    """

    def __init__(self) -> None:
        self.wants_json = False
        self.is_debug = False
        self.config_path: Path | None = None
        self.exit_code = 0
        self._closers: list[Callable[[], None]] = []

    @cached_property
    def loaded(self) -> LoadedSettings:
        """The settings with their origin.

        Raises:
            ConfigError: the configuration is refused.
        """
        from thingwarden.config import load_settings

        return load_settings(self.config_path)

    @cached_property
    def console(self) -> Console:
        """Where people read results: stdout."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=False)

    @cached_property
    def messages(self) -> Console:
        """Where people read progress and remarks: stderr."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    def emit(self, kind: str, record: Mapping[str, object]) -> None:
        """Write one JSON line: the record with its ``type`` first."""
        write_json({"type": kind, **record})

    def show(self, *renderables: RenderableType) -> None:
        """Print for people; silent under ``--json``."""
        if not self.wants_json:
            self.console.print(*renderables)

    def remark(self, text: str) -> None:
        """Print one line to stderr, for people and programs alike."""
        click.echo(printable(text), err=True)

    def close(self) -> None:
        """Release what the command opened, last opened first."""
        while self._closers:
            self._closers.pop()()

    def on_close(self, closer: Callable[[], None]) -> None:
        """Call ``closer`` when the command ends, however it ends."""
        self._closers.append(closer)

    @contextmanager
    def progress(self, title: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show a bar on a terminal's stderr; yields a function of (done, total or None).

        Args:
            title: what is being done.
            unit: what is counted, in the plural.
        """
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} " + unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.messages, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task(printable(title), total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def common_options(command: AnyCommand) -> AnyCommand:
    """Add ``--json``, ``--debug`` and ``--config``; what they say is in the ``Invocation``."""

    def remember(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        def set_attribute(context: click.Context, _: click.Parameter, value: Any) -> None:
            if value:
                setattr(context.ensure_object(Invocation), attribute, value)

        return set_attribute

    options = (
        click.option(
            "--json", is_flag=True, expose_value=False, callback=remember("wants_json"), is_eager=True,
            help="Write JSON lines to stdout, messages to stderr.",
        ),
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=remember("is_debug"), is_eager=True,
            help="Show the traceback of a failure.",
        ),
        click.option(
            "--config", type=click.Path(path_type=Path, dir_okay=False), expose_value=False,
            callback=remember("config_path"), help="Configuration file instead of the usual places.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing optional package into an error that names the extra to install.

    Raises:
        RequestError: an import inside the block failed for a package that is not ours.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "thingwarden").partition(".")[0] == "thingwarden":
            raise
        raise RequestError(
            f"this command needs the package {error.name}",
            "it is not installed",
            f"pip install 'thingwarden[{extra}]'",
        ) from error


def write_json(record: Mapping[str, object]) -> None:
    """Write one JSON line to stdout."""
    sys.stdout.write(json.dumps(plain(record), ensure_ascii=True, allow_nan=False) + "\n")


def plain(value: object) -> Any:
    """The value as JSON knows it: instants in ISO 8601, enums by wire value, NaN and infinities as null."""
    if value is None or isinstance(value, bool | str | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Path | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return plain(_from_scalar(value))


def _from_scalar(value: object) -> object:
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"no JSON form for {type(value).__name__}")
    return item()


def printable(text: str) -> str:
    """The text with every control character spelled out, so that a terminal shows it and does not obey it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numeric: Sequence[str] = ()) -> Any:
    """A rich table of plain text; cells are never read as markup.

    Args:
        title: line above the table; empty for none.
        columns: headers, left to right.
        rows: cells in the order of ``columns``.
        numeric: headers whose cells are set to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return made
