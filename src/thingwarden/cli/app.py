"""The root command: which commands there are, and how every failure ends.

In: arguments. Out: an exit code; three lines on stderr for each failure.
Must never: import a stage; show a traceback without ``--debug``.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import click

from thingwarden import __version__
from thingwarden.cli.invocation import Invocation, common_options, printable
from thingwarden.domain.errors import ConfigError, RequestError, ThingwardenError

EXIT_BUG: Final = 70
"""EX_SOFTWARE of sysexits.h: the fault is ours."""

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

EXIT_BROKEN_PIPE: Final = 141
"""128 + SIGPIPE: the reader of our output went away."""

COMMANDS: Final = {
    "demo": ("replay", "demo", "Judge the packaged sample: start here."),
    "replay": ("replay", "replay", "Judge captures and logs; plan a response."),
    "watch": ("watch", "watch", "Watch an interface; answer what happens."),
    "devices": ("journal", "devices", "List the devices that the journal knows."),
    "incidents": ("journal", "incidents", "List or show the journal's incidents."),
    "decisions": ("decisions", "decisions", "List, approve, revoke or extend decisions."),
    "panic": ("panic", "panic", "Remove everything that is in force, at once."),
    "enforcer": ("enforcer", "enforcer", "Run an enforcer, or the reaper, as a small process of its own."),
    "audit": ("audit", "audit", "Check the journal's chain and signatures; export it."),
    "meter": ("meter", "meter", "Turn packets into a Zeek-format conn.log."),
    "evaluate": ("evaluate", "evaluate", "Compare verdicts with the labels of labelled input."),
    "bench": ("bench", "bench_group", "Measure the model against every baseline."),
    "train": ("train", "train", "Train a model by a recipe."),
    "model": ("model", "model_group", "Show or verify a model."),
    "lab": ("lab", "lab_group", "Run a scenario in a simulated network (root)."),
    "policy": ("policy", "policy_group", "Check, explain, test or export what may be ordered."),
    "config": ("settings", "config_group", "Check, show or write the configuration."),
}
"""Command name: module below ``thingwarden.cli``, attribute, one line for the overview."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(import_module(f"thingwarden.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="thingwarden")
@common_options
def root() -> None:
    """Detect and answer intrusions in IoT networks with a small language model of network behaviour.

    Try `thingwarden demo` first.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; the process's own by default.

    Returns:
        The exit code of docs/errors.md.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation()
    try:
        return _run(words or ["--help"], invocation)
    except BaseException as error:
        return _exit_code(error, invocation)


def _run(words: list[str], invocation: Invocation) -> int:
    try:
        with root.make_context("thingwarden", words, obj=invocation) as context:
            root.invoke(context)
    finally:
        invocation.close()
    sys.stdout.flush()
    return invocation.exit_code


def _exit_code(error: BaseException, invocation: Invocation) -> int:
    """The catch-all: what a failure is called, on stderr, and its exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    if isinstance(error, SystemExit | GeneratorExit):
        raise error
    known = _as_known(error)
    if invocation.is_debug:
        traceback.print_exception(error, file=sys.stderr)
    if known is None:
        _say("this is our bug", f"{type(error).__name__}: {error}", "run again with --debug and report what it prints")
        return EXIT_BUG
    _say(known.what, known.why, known.hint)
    return known.exit_code


def _as_known(error: BaseException) -> ThingwardenError | None:
    if isinstance(error, ThingwardenError):
        return error
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "thingwarden"
        return RequestError("the command was not understood", error.format_message(), f"see: {path} --help")
    if isinstance(error, OSError) and error.filename is not None:
        return ConfigError(
            f"file {os.fsdecode(error.filename)}", error.strerror or str(error), "check path, permission and free space"
        )
    return None


def _say(what: str, why: str, hint: str) -> None:
    for label, text in (("error", what), ("why", why), ("hint", hint)):
        if text:
            click.echo(f"{label + ':':<7}{printable(text)}", err=True)
