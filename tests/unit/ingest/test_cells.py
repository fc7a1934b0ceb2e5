"""Columns of text become numbers, codes and addresses exactly as Python itself would read each cell."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from thingwarden.domain.flow import address_from_words
from thingwarden.ingest.cells import Cells


def test_unset_markers_empty_their_cells_only() -> None:
    cells = Cells.from_texts([b"-", b"--", b"(empty)", b"(emptx)", b"", b"5"]).without([b"-", b"(empty)"])
    assert cells.is_set.tolist() == [False, True, False, True, False, True]


def test_texts_are_cut_and_unprintable_ones_marked() -> None:
    texts, is_readable = Cells.from_texts([b"abcdef", b"ab", b"", b"a\0b", b"\xff", b"abcd\x01"]).fixed_text(4)
    assert texts.tolist() == [b"abcd", b"ab", b"", b"a\0b", b"\xff", b"abcd"]
    assert is_readable.tolist() == [True, True, True, False, False, True]


def test_codes_go_by_the_table() -> None:
    cells = Cells.from_texts([b"tcp", b"udp", b"tcpx", b"", b"unknown_transport"])
    assert cells.codes({b"tcp": 6, b"udp": 17, b"unknown_": 255}, -1).tolist() == [6, 17, -1, -1, 255]


PLAIN_NUMBERS = [b"0", b"7", b"48.0", b"0.0005", b"1545403816.962094", b"9007199254740992", b"5.", b".5", b"000.10"]
ODD_NUMBERS = [b"-1", b"+3.5", b"1e3", b"1.0E-06", b"12345678901234567890", b"0.012166976928710938", b"1" * 60]
NO_NUMBERS = [b".", b"-", b"1.2.3", b"1_000", b" 1", b"nan", b"inf", b"1e400", b"0x10", b"1e99999", b"\xd9\xa1", b"1\0"]


@pytest.mark.parametrize("text", PLAIN_NUMBERS + ODD_NUMBERS)
def test_numbers_round_as_float_does(text: bytes) -> None:
    values, is_readable = Cells.from_texts([text, b"3.25"]).decimals()
    assert is_readable.tolist() == [True, True]
    assert values.tolist() == [float(text), 3.25]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_marked(text: bytes) -> None:
    _, is_readable = Cells.from_texts([b"3.25", text]).decimals()
    assert is_readable.tolist() == [True, False]


def test_a_number_of_endless_digits_is_marked_not_computed() -> None:
    assert Cells.from_texts([b"9" * 500_000]).decimals()[1].tolist() == [False]


def test_an_unset_number_is_nan_and_readable() -> None:
    values, is_readable = Cells.from_texts([b""]).decimals()
    assert np.isnan(values).all()
    assert is_readable.all()


ADDRESSES = [
    "0.0.0.0",
    "192.168.1.195",
    "255.255.255.255",
    "::",
    "ff02::fb",
    "fe80::80e6:50ff:fe12:1464",
    "::ffff:1.2.3.4",
]
NO_ADDRESSES = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.04",
    "1..3.4",
    ".1.2.3",
    "1.2.3.",
    "host",
    "1:2",
    ":" * 70,
]


def test_addresses_are_those_of_ipaddress() -> None:
    words, is_readable = Cells.from_texts([text.encode() for text in ADDRESSES]).addresses()
    assert is_readable.all()
    expected = [
        getattr(ipaddress.ip_address(text), "ipv4_mapped", None) or ipaddress.ip_address(text) for text in ADDRESSES
    ]
    assert [address_from_words(high, low) for high, low in words.tolist()] == expected


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_marked(text: str) -> None:
    assert Cells.from_texts([text.encode(), b"10.0.0.1"]).addresses()[1].tolist() == [False, True]


def test_no_cells_are_no_values() -> None:
    cells = Cells.from_texts([])
    assert len(cells.decimals()[0]) == len(cells.addresses()[0]) == len(cells.fixed_text(8)[0]) == 0
