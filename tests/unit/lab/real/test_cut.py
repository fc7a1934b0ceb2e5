"""Cuts: what they touch, what they leave alone, and that the kernel agrees."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import get_args

import pytest

from lab_host_builder import lan_host
from thingwarden.domain.errors import RequestError
from thingwarden.lab.real.cut import Mode, cut_table
from thingwarden.lab.real.layout import Layout
from thingwarden.lab.real.network import Lab

LAYOUT = Layout(prefix="tw-1.2", hosts=(lan_host("camera", 21), lan_host("plug", 31)))
TARGETS = ("uplink", "resolver", "weather.example", "plug")
REFUSED, SILENT = "111", "timeout"
PLACES = {
    "uplink": ("203.0.113.13", "2001:db8:100::d"),
    "resolver": ("10.77.0.1",),
    "weather.example": ("203.0.113.12", "2001:db8:100::c"),
    "plug": ("10.77.0.31", "2001:db8:77::1f"),
}
PROBE = """
import socket, sys
address, port = sys.argv[1], 53
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
    probe.settimeout(0.3)
    try:
        probe.connect((address, port))
        print(0)
    except TimeoutError:
        print("timeout")
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_cut_is_one_table_and_its_end_one_deletion(target: str, mode: Mode) -> None:
    table = cut_table(LAYOUT, target, mode)
    assert re.findall(r"^table (\w+) (\w+) \{$", table.text, re.MULTILINE) == [(table.family, table.name)]
    assert table.deletion == f"delete table {table.family} {table.name}\n"


def test_tables_of_different_cuts_have_different_names() -> None:
    assert len({cut_table(LAYOUT, target, "silent").name for target in TARGETS}) == len(TARGETS)


def test_what_is_not_there_cannot_fail() -> None:
    with pytest.raises(RequestError, match="no such part"):
        cut_table(LAYOUT, "toaster", "silent")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LAYOUT.hosts) as entered:
        yield entered


def _answer(lab: Lab, address: str) -> str:
    return lab.run("camera", [sys.executable, "-c", PROBE, address]).strip()


@pytest.mark.root
@pytest.mark.parametrize("target", TARGETS)
def test_a_silent_part_says_nothing_and_the_rest_goes_on(lab: Lab, target: str) -> None:
    lab.cut(target, "silent")
    answers = {place: _answer(lab, place) for places in PLACES.values() for place in places}
    lab.restore(target)
    silent = {place for place, answer in answers.items() if answer == SILENT}
    assert silent == set(PLACES[target]) | (set(PLACES["weather.example"]) if target == "uplink" else set())
    assert all(_answer(lab, place) == REFUSED for place in PLACES[target])


@pytest.mark.root
@pytest.mark.parametrize("target", TARGETS)
def test_a_refusing_part_answers_at_once(lab: Lab, target: str) -> None:
    place = PLACES[target][0]
    where = {"weather.example": lab.INTERNET, "uplink": lab.INTERNET, "resolver": lab.GATEWAY, "plug": "plug"}[target]
    serve = "import socket, time; s = socket.create_server(('', 53)); print('up', flush=True); time.sleep(60)"
    log = lab.scratch / f"{target}.log"
    server = lab.spawn(where, [sys.executable, "-c", serve], log=log)
    while server.poll() is None and "up" not in log.read_text():
        pass
    assert _answer(lab, place) == "0"
    lab.cut(target, "refusing")
    assert _answer(lab, place) == REFUSED
    lab.restore(target)
    assert _answer(lab, place) == "0"
    lab.stop(server, is_sudden=True)


@pytest.mark.root
def test_a_second_cut_replaces_the_first(lab: Lab) -> None:
    lab.cut("uplink", "silent")
    lab.cut("uplink", "refusing")
    assert _answer(lab, "203.0.113.13") == REFUSED
    lab.restore("uplink")
    lab.restore("uplink")
    assert "cut_" not in lab.run(lab.GATEWAY, ["nft", "list", "tables"])
