"""The command line: the one place that joins the stages.

In: arguments, files, settings. Out: tables for people, JSON lines for programs, exit codes.
Must never: import a stage before a command needs it; judge or decide anything itself.
"""

from thingwarden.cli.app import main

__all__ = ["main"]
