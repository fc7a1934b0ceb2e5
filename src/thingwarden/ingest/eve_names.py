"""Reads the names in Suricata's EVE log that stand on lists: domains of DNS, TLS, QUIC and HTTP, and JA4 fingerprints.

In: the path of an untrusted file, plain or compressed, and the names wanted. Out: ``HeardNames``.
Must never: keep a name that nobody asked for; a log has millions.
Source: "Eve JSON Format" in the manuals of Suricata 7.0 and 8.0 (whose DNS events hold several questions, and JA4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.domain.heard_name import HEARD_COLUMNS, HeardNames
from thingwarden.domain.indicator import KIND_CODE
from thingwarden.domain.sighting import SightingKind
from thingwarden.ingest.eve import Event, ends_of, proto_of, read_events

_HOST_MEMBERS: Final = {"tls": ("sni",), "quic": ("sni",), "http": ("hostname",)}
_JA4_KINDS: Final = ("tls", "quic")
_MOST_QUESTIONS: Final = 64
_DOMAIN: Final = KIND_CODE[SightingKind.DOMAIN]
_JA4: Final = KIND_CODE[SightingKind.JA4]


def read_names(
    path: Path, is_wanted: Callable[[str], bool], progress: Callable[[int], None] | None = None
) -> HeardNames:
    """Read the names that are wanted.

    Args:
        path: of an ``eve.json``, plain, gzip, xz or zstd.
        is_wanted: called with each name in lower case.
        progress: called now and then with the number of lines read so far.

    Raises:
        InputError: a line is no event, or an event lacks what such events have; names file, line and expectation.
        RequestError: the path cannot be opened.
    """
    rows: list[dict[str, Any]] = []
    names: list[str] = []
    for _, event in read_events(path, progress):
        for kind, is_question, said in _names(event):
            name = said.lower().removesuffix(".")
            if name.isascii() and name.isprintable() and is_wanted(name) and event.has("src_ip"):
                rows.append(_row(event, kind, is_question))
                names.append(name)
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows], dtype=dtype).reshape(len(rows), *shape)
        for name, (dtype, shape) in HEARD_COLUMNS.items()
    }
    return HeardNames(**columns, name=tuple(names))


def _names(event: Event) -> Iterator[tuple[int, bool, str]]:
    """Kind, whether it is a question, and name, of each name in an event."""
    kind = event.text("event_type")
    if kind == "dns":
        dns = event.inner("dns")
        questions = [dns, *dns.inner_list("queries", _MOST_QUESTIONS)]
        yield from ((_DOMAIN, True, item.text("rrname")) for item in questions if item.has("rrname"))
    elif kind in _HOST_MEMBERS:
        inner = event.inner(kind)
        yield from ((_DOMAIN, False, inner.text(name)) for name in _HOST_MEMBERS[kind] if inner.has(name))
        if kind in _JA4_KINDS and inner.has("ja4"):
            yield _JA4, False, inner.text("ja4")


def _row(event: Event, kind: int, is_question: bool) -> dict[str, Any]:
    ends, _ = ends_of(event)
    return {
        "at_s": event.unix_s("timestamp"),
        "orig_address": ends[0:2],
        "resp_address": ends[2:4],
        "orig_port": ends[4],
        "resp_port": ends[5],
        "proto": proto_of(event),
        "kind": kind,
        "is_question": is_question,
    }
