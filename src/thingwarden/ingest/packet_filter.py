"""Compiles a filter expression into the program by which the kernel chooses what a socket gets.

In: an expression as tcpdump takes it. Out: the bytes of a classic BPF program.
Must never: take an expression from anyone but the person who runs the command.
Source: pcap-filter(7), pcap_compile(3PCAP); libpcap is called, by its C interface, only where a filter is wanted.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Final

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.ingest.link_header import LINK_ETHERNET, LINK_RAW

INSTRUCTION_BYTES: Final = 8
_MOST_INSTRUCTIONS: Final = 4096
"""What the kernel takes of one program."""

_DLT_BY_LINK_TYPE: Final = {LINK_ETHERNET: 1, LINK_RAW: 12}
_ANY_NETMASK: Final = 0xFFFFFFFF


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def compile_filter(expression: str, link_type: int, snap_bytes: int) -> bytes:
    """The program that keeps ``snap_bytes`` of each frame that fits the expression, and none of the others.

    Args:
        expression: such as ``not port 22 and net 192.168.1.0/24``.
        link_type: of the frames, Ethernet or raw IP.
        snap_bytes: kept of a frame at most.

    Raises:
        RequestError: the expression is none, or longer as a program than the kernel takes.
        ConfigError: there is no libpcap on this machine.
    """
    library = _library()
    handle = library.pcap_open_dead(_DLT_BY_LINK_TYPE[link_type], snap_bytes)
    if not handle:
        raise ConfigError("libpcap", "has no memory", "free some memory")
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, _ANY_NETMASK) != 0:
            why = library.pcap_geterr(handle).decode(errors="replace")
            raise RequestError(f"filter '{expression}'", why, "man pcap-filter tells the language")
        try:
            if program.count > _MOST_INSTRUCTIONS:
                raise RequestError(
                    f"filter '{expression}'", f"takes {program.count} instructions", f"at most {_MOST_INSTRUCTIONS}"
                )
            return ctypes.string_at(program.instructions, program.count * INSTRUCTION_BYTES)
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)


def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("pcap") or "libpcap.so.0.8"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ConfigError("filter", "needs libpcap, which is not here", "apt-get install libpcap0.8") from error
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
    library.pcap_compile.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint)
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = (ctypes.c_void_p,)
    library.pcap_freecode.argtypes = (ctypes.c_void_p,)
    library.pcap_close.argtypes = (ctypes.c_void_p,)
    return library
