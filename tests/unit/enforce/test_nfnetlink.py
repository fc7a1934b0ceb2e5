"""Elements in a kernel's sets, added, listed and removed in a namespace of the test's own."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator

import pytest

from network_builder import own_network, run
from thingwarden.enforce.nfnetlink import Element, change_elements, find_element, list_elements, list_sets

pytestmark = pytest.mark.root
SET = "add table inet t; add set inet t {name} {{ type ipv4_addr; flags timeout; size {room};{states} }}"


@pytest.fixture(autouse=True)
def _network() -> Iterator[None]:
    with own_network():
        run("nft", SET.format(name="cut", room=4, states=""))
        run("nft", SET.format(name="rate", room=4, states=" limit rate over 1/second counter;"))
        yield


def element(last: int, lifetime_ms: int = 60_000, **values: object) -> Element:
    given = {"set_name": "cut", "comment": f"{last:012x}", **values}
    return Element(key=bytes([10, 0, 0, last]), lifetime_ms=lifetime_ms, **given)  # type: ignore[arg-type]


def held(set_name: str = "cut") -> set[int]:
    return {item.key[3] for item in list_elements("inet", "t", set_name)}


def test_what_was_added_is_listed_with_owner_and_time_left() -> None:
    change_elements("inet", "t", [], [element(1)])
    (found,) = list_elements("inet", "t", "cut")
    assert (found.key, found.comment, found.packet_count) == (bytes([10, 0, 0, 1]), f"{1:012x}", 0)
    assert 50_000 < found.lifetime_ms <= 60_000


def test_each_element_has_a_rate_of_its_own() -> None:
    change_elements("inet", "t", [], [element(n, set_name="rate", packets_per_s=n) for n in (7, 9)])
    said = run("nft", "list", "set", "inet", "t", "rate")
    assert "10.0.0.7 limit rate over 7/second" in said and "10.0.0.9 limit rate over 9/second" in said


def test_the_kernel_removes_it_when_its_time_is_over() -> None:
    change_elements("inet", "t", [], [element(1, lifetime_ms=100)])
    time.sleep(0.3)
    assert held() == set()


def test_a_batch_holds_as_a_whole_or_not_at_all() -> None:
    change_elements("inet", "t", [], [element(1)])
    with pytest.raises(OSError) as refused:
        change_elements("inet", "t", [], [element(2), element(1), element(3)])
    assert refused.value.errno == errno.EEXIST
    with pytest.raises(OSError) as refused:
        change_elements("inet", "t", [element(1), element(9)], [element(2)])
    assert refused.value.errno == errno.ENOENT
    assert held() == {1}
    change_elements("inet", "t", [element(1)], [element(2), element(1)])
    assert held() == {1, 2}


def test_a_full_set_is_said() -> None:
    with pytest.raises(OSError) as refused:
        change_elements("inet", "t", [], [element(number) for number in range(6)])
    assert refused.value.errno == errno.ENFILE
    assert held() == set()


def test_sets_are_listed_of_the_table_alone() -> None:
    run("nft", "add table inet u; add set inet u other { type ipv4_addr; }")
    assert sorted(list_sets("inet", "t")) == ["cut", "rate"]
    assert list_sets("inet", "nothing") == []
    assert list_elements("inet", "t", "nothing") == []


def test_many_elements_come_back_whole() -> None:
    run("nft", SET.format(name="many", room=65535, states=""))
    keys = [bytes([10, 1, number >> 8, number & 255]) for number in range(3000)]
    for start in range(0, 3000, 100):
        batch = keys[start : start + 100]
        change_elements(
            "inet", "t", [], [Element(set_name="many", key=k, comment="a" * 12, lifetime_ms=9999) for k in batch]
        )
    assert {item.key for item in list_elements("inet", "t", "many")} == set(keys)


def test_one_element_is_found_by_its_key() -> None:
    change_elements("inet", "t", [], [element(1)])
    found = find_element("inet", "t", element(1, comment=""))
    assert found is not None and found.comment == f"{1:012x}"
    assert find_element("inet", "t", element(2)) is None
    assert find_element("inet", "t", element(2, set_name="nothing")) is None
