"""The error table: classes, exit codes, and the three parts of a message."""

from __future__ import annotations

import copy

import pytest

from thingwarden.domain import errors


def test_exit_codes_are_the_documented_ones() -> None:
    table = {error_class.__name__: error_class.exit_code for error_class in errors.ThingwardenError.__subclasses__()}
    assert table == {
        "ConfigError": 2,
        "RequestError": 2,
        "InputError": 3,
        "ArtifactError": 4,
        "EnforcementError": 5,
    }


@pytest.mark.parametrize("error_class", errors.ThingwardenError.__subclasses__())
def test_an_error_keeps_its_parts_and_reads_as_what_and_why(error_class: type[errors.ThingwardenError]) -> None:
    error = error_class("the file", "is cut off", "copy it again")
    assert (error.what, error.why, error.hint) == ("the file", "is cut off", "copy it again")
    assert str(error) == "the file: is cut off"


def test_a_hint_may_be_missing() -> None:
    assert errors.InputError("the file", "is odd").hint == ""


def test_an_error_survives_the_way_between_processes() -> None:
    """Copying takes the way that worker processes take."""
    error = copy.copy(errors.InputError("the file", "is odd", "look"))
    assert isinstance(error, errors.InputError)
    assert (error.what, error.why, error.hint) == ("the file", "is odd", "look")
