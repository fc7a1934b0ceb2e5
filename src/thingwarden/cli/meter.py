"""``thingwarden meter``: packets to a Zeek-format conn.log.

In: a capture. Out: conn.log on stdout or in a file.
Must never: hold the whole capture in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thingwarden.cli.inputs import InputPath, format_from_name, format_option, open_inputs
from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.domain.flow import FlowBatch
    from thingwarden.ingest.source import FlowFile


@click.command("meter")
@click.argument("path", type=InputPath)
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write here instead of stdout.")
@format_option
@common_options
@click.pass_obj
def meter(invocation: Invocation, path: Path, out: Path | None, format_name: str | None) -> None:
    """Turn the packets of PATH (pcap or pcapng, also compressed) into flows, written as Zeek's conn.log.

    PATH may be - for standard input.
    """
    from thingwarden.ingest.conn_log import write_conn_log

    if invocation.wants_json and out is None:
        raise RequestError("meter --json", "stdout carries JSON, so conn.log needs a file", "name one with --out")
    (opened,) = open_inputs((path,), format_from_name(format_name))
    source = opened.file
    if source.format.value not in ("pcap", "pcapng"):
        raise RequestError(
            str(path), f"is {source.format.value}: it holds flows already", "give meter a pcap or pcapng"
        )
    with (
        invocation.progress(f"metering {path.name}", "flows") as advance,
        nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as file,
    ):
        count = write_conn_log(_counted(source, advance), file)
    invocation.remark_all(opened.notes)
    if invocation.wants_json:
        invocation.emit(
            "meter_summary", {"path": str(path), "out": out and str(out), "flows": count, "counts": source.counts}
        )
    elif out is not None:
        invocation.show(f"Wrote {quantity(count, 'flow')} to {out}.")


def _counted(source: FlowFile, advance: Callable[[int, int | None], None]) -> Iterator[FlowBatch]:
    done = 0
    for batch in source.batches():
        yield batch
        done += len(batch)
        advance(done, None)
