"""The error table: who can fix what, and the exit code that says so.

In: nothing. Out: the exception classes that every stage raises.
Must never: be raised for generated text that breaks policy (that is a value, ``Refusal``).
"""

from __future__ import annotations

from typing import ClassVar


class ThingwardenError(Exception):
    """Base of every error that a person can act on.

    Args:
        what: what failed, naming file, key or host.
        why: the cause, as observed.
        hint: what the reader can do about it; empty when nothing is known to help.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.hint = hint

    def __reduce__(self) -> tuple[type[ThingwardenError], tuple[str, str, str]]:
        """What a worker process hands to the one that waits for it."""
        return type(self), (self.what, self.why, self.hint)


class ConfigError(ThingwardenError):
    """A setting, policy, file or permission that the operator can correct."""

    exit_code = 2


class RequestError(ThingwardenError):
    """A call of the CLI or API that its caller can correct."""

    exit_code = 2


class InputError(ThingwardenError):
    """Outside data that is not what it claims to be: a packet, a log line, a dataset."""

    exit_code = 3


class ArtifactError(ThingwardenError):
    """A model that is missing, altered or does not fit this version."""

    exit_code = 4


class EnforcementError(ThingwardenError):
    """The firewall or broker refused an act, or disagrees about what is in force."""

    exit_code = 5
