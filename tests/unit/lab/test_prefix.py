"""The lab's walls: nothing outside its own prefixes is ever named."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.prefix import require_arguments_inside, require_inside


@pytest.mark.parametrize(
    "target",
    [
        "10.77.0.1",
        "10.77.0.0/26",
        "203.0.113.80",
        "198.51.100.66",
        "198.19.255.255",
        "224.0.0.251",
        "255.255.255.255",
        "2001:db8:77::1",
        "2001:db8:100::/64",
        "ff02::fb",
    ],
)
def test_lab_prefixes_are_allowed(target: str) -> None:
    require_inside(target)


@pytest.mark.parametrize(
    "target",
    [
        "8.8.8.8",
        "10.77.1.1",
        "10.77.0.0/23",
        "0.0.0.0/0",
        "127.0.0.1",
        "192.168.1.1",
        "198.20.0.1",
        "::1",
        "::/0",
        "2001:db8::1",
        "2001:db8:77::/32",
        "2606:4700::1111",
        "ff05::2",
        "::ffff:8.8.8.8",
        "::ffff:10.77.0.1",
        "example.com",
        "",
    ],
)
def test_anything_else_is_refused(target: str) -> None:
    with pytest.raises(RequestError, match="lab target"):
        require_inside(target)


@pytest.mark.parametrize(
    "argv",
    [
        ["nmap", "8.8.8.8"],
        ["x", "--to=1.1.1.1"],
        ["x", "10.77.0.1,9.9.9.9"],
        ["x", "::1"],
        ["curl", "[2606:4700::1111]"],
        ["x", "user@9.9.9.9"],
        ["x", "0.0.0.0/0"],
    ],
)
def test_an_argument_outside_is_found_wherever_it_hides(argv: list[str]) -> None:
    with pytest.raises(RequestError):
        require_arguments_inside(argv)


def test_numbers_and_words_are_not_taken_for_addresses() -> None:
    require_arguments_inside(["hping3", "-c", "3000", "-i", "u2000", "203.0.113.80", "--top-ports", "100", "1.5"])


@pytest.mark.parametrize("argument", ["ftp://8.8.8.8:21", "http://9.9.9.9/", "8.8.8.8:80", "8.8.8.8-20"])
def test_an_address_inside_a_locator_is_found_too(argument: str) -> None:
    with pytest.raises(RequestError):
        require_arguments_inside(["hydra", argument])
