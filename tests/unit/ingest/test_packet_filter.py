"""Filter expressions become programs that choose what they say."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from packet_builder import CLIENT, SERVER, ethernet, ip_packet, udp_datagram
from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.ingest import packet_filter
from thingwarden.ingest.link_header import LINK_ETHERNET, LINK_RAW
from thingwarden.ingest.packet_filter import INSTRUCTION_BYTES, compile_filter

SNAP_BYTES = 96
DNS = ip_packet(CLIENT, SERVER, 17, udp_datagram(40_000, 53))
DNS6 = ip_packet("fd00::1", "fd00::2", 17, udp_datagram(40_000, 53))
OTHER = ip_packet(CLIENT, SERVER, 17, udp_datagram(40_000, 54))


def kept_bytes(program: bytes, frame: bytes) -> int:
    """What the kernel's machine would keep: the few instructions that the filters here need."""
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = index = at = 0
    while True:
        kind, if_true, if_false, value = code[at]
        at += 1
        match kind:
            case 0x06:
                return int(value)
            case 0x28 | 0x48:
                place = value + (index if kind == 0x48 else 0)
                if place + 2 > len(frame):
                    return 0
                accumulator = int.from_bytes(frame[place : place + 2], "big")
            case 0x30:
                accumulator = frame[value]
            case 0xB1:
                index = (frame[value] & 15) * 4
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case other:
                raise AssertionError(f"instruction {other:#x}")


@pytest.mark.parametrize(
    ("expression", "kept"),
    [("port 53", [DNS, DNS6]), ("not port 53", [OTHER]), ("ip6", [DNS6]), ("udp port 54 or ip6", [DNS6, OTHER])],
)
@pytest.mark.parametrize("link_type", [LINK_ETHERNET, LINK_RAW])
def test_a_filter_keeps_what_it_says_and_so_much_of_it(expression: str, kept: Sequence[bytes], link_type: int) -> None:
    program = compile_filter(expression, link_type, SNAP_BYTES)
    assert len(program) % INSTRUCTION_BYTES == 0
    for packet in (DNS, DNS6, OTHER):
        frame = ethernet(packet) if link_type == LINK_ETHERNET else packet
        assert kept_bytes(program, frame) == (SNAP_BYTES if packet in kept else 0)


def test_what_is_no_filter_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestError, match="filter 'port pizza'"):
        compile_filter("port pizza", LINK_ETHERNET, SNAP_BYTES)


def test_a_program_that_no_kernel_takes_is_refused() -> None:
    hosts = " or ".join(f"host 10.0.{number // 250}.{number % 250}" for number in range(1500))
    with pytest.raises(RequestError, match="filter"):
        compile_filter(hosts, LINK_ETHERNET, SNAP_BYTES)


def test_a_machine_without_libpcap_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_filter.ctypes.util, "find_library", lambda name: "libnothing.so.9")
    with pytest.raises(ConfigError, match="needs libpcap"):
        compile_filter("ip", LINK_ETHERNET, SNAP_BYTES)
