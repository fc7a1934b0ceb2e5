"""What every command shares: the common options, the settings, and the two ways of speaking.

In: ``--json``, ``--debug``, ``--config``. Out: JSON lines or rich tables on stdout, messages on stderr.
Must never: write anything but JSON to stdout under ``--json``; let a terminal obey bytes that came from a capture.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from thingwarden.config import LoadedSettings

DEFAULT_WIDTH: Final = 110
"""Columns where no terminal says how wide it is: in files, pipes and pictures."""

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

        is_width_known = sys.stdout.isatty() or "COLUMNS" in os.environ
        return Console(markup=False, highlight=False, width=None if is_width_known else DEFAULT_WIDTH)

    @cached_property
    def messages(self) -> Console:
        """Where people read progress and remarks: stderr."""
        from rich.console import Console

        return Console(stderr=True, markup=False, highlight=False)

    def emit(self, kind: str, record: Mapping[str, object]) -> None:
        """Write one JSON line: the record with its ``type`` first; values as ``serve.wire`` shapes them."""
        self.emit_bare({"type": kind, **record})

    def emit_bare(self, record: Mapping[str, object]) -> None:
        """Write one JSON line that carries nothing but the record."""
        from thingwarden.serve.wire import plain_from_value

        sys.stdout.write(json.dumps(plain_from_value(record), ensure_ascii=True, allow_nan=False) + "\n")

    def show(self, *renderables: RenderableType) -> None:
        """Print for people; silent under ``--json``. A picture cannot scroll: only there are plain lines broken."""
        if self.wants_json:
            return
        for renderable in renderables:
            self.console.print(renderable, soft_wrap=isinstance(renderable, str) and not self.console.record)

    def remark(self, text: str) -> None:
        """Print one line to stderr, for people and programs alike."""
        click.echo(printable(text), err=True)

    def remark_all(self, texts: Iterable[str]) -> None:
        """Print lines to stderr."""
        for text in texts:
            self.remark(text)

    def record_output(self) -> None:
        """Draw for people at a fixed width, in colour, and keep it, so that it can be saved as a picture."""
        from rich.console import Console

        self.console = Console(
            markup=False, highlight=False, record=True, width=DEFAULT_WIDTH, force_terminal=sys.stdout.isatty()
        )

    def picture(self, title: str) -> str:
        """What was drawn since ``record_output``, as SVG that fetches no font from elsewhere."""
        drawn = self.console.export_svg(title=title, unique_id=title.replace(" ", "-"))
        aligned = drawn.replace("<svg ", '<svg xml:space="preserve" ', 1)  # some viewers drop leading blanks
        return re.sub(r"@font-face \{.*?\}\s*", "", aligned, flags=re.DOTALL)

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
            TextColumn("{task.description}", markup=False),
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


def printable(text: str) -> str:
    """The text with every control character spelled out, so that a terminal shows it and does not obey it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def quantity(count: int, noun: str) -> str:
    """A count with its noun, which takes an s in the plural: ``1 flow``, ``2,345 flows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Sequence[str] = (),
    is_dense: bool = False,
) -> Table:
    """A rich table of plain text; cells are never read as markup.

    Args:
        title: line above the table; empty for none.
        columns: headers, left to right; the first is what a row goes by, and is never cut.
        rows: cells in the order of ``columns``.
        numeric: headers whose cells are set to the right.
        is_dense: one blank between columns instead of two.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        padding=(0, 1, 0, 0) if is_dense else (0, 1),
        pad_edge=False,
    )
    for column in columns:
        made.add_column(
            column, no_wrap=column == columns[0], justify="right" if column in numeric else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return made
