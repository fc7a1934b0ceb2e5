"""The process that becomes every host: it imports once, then forks a child into each namespace, in milliseconds.

In: ``Program``, a JSON line each, on stdin. Out: traffic; on stdout ``Ending``, a JSON line for each child that ended.
Must never: run a behaviour outside a lab's namespace, or outlive the process that started it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.real.leftover import NAMESPACES
from thingwarden.lab.real.network import require_namespace
from thingwarden.lab.real.world import RealWorld, Surroundings
from thingwarden.lab.world import Identity

_STDIN: Final = 0
_CHUNK_BYTES: Final = 1 << 16
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_GRACE_S: Final = 2.0
"""How much longer than its bound an act may take to end by itself."""
_SETTLE_S: Final = 0.3
"""For the last connections to be closed in an orderly way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child is to be: a host's life, or one act of a host.

    Attributes:
        number: by which its ending is told.
        namespace: where it lives.
        log: what it says on stderr is appended there.
        me, seed, began_at_s, starts_at_hour, scratch, certificate, key: see ``Surroundings``.
        act: key of ``ACTS``; empty for the host's life.
        task: the act's name on this host, which its random stream is drawn from.
        settings: of the act.
    """

    number: int
    namespace: str
    log: Path
    me: Identity
    seed: str
    began_at_s: float
    starts_at_hour: float
    scratch: Path
    certificate: Path
    key: Path
    act: str = ""
    task: str = "main"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A child's end: exit status, negative for a signal; begin and end in Unix seconds."""

    number: int
    status: int
    began_at_s: float
    ended_at_s: float


PROGRAM: Final = TypeAdapter(Program)
ENDING: Final = TypeAdapter(Ending)


def main() -> None:
    """Serve until stdin ends."""
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides what an interrupt means
    children: dict[int, tuple[int, float]] = {}
    unread = b""
    with selectors.DefaultSelector() as selector:
        selector.register(_STDIN, selectors.EVENT_READ)
        selector.register(wake_reader, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake_reader in ready:
                os.read(wake_reader, _CHUNK_BYTES)
                _tell_endings(children)
            if _STDIN in ready:
                chunk = os.read(_STDIN, _CHUNK_BYTES)
                if not chunk:
                    return
                *lines, unread = (unread + chunk).split(b"\n")
                for program in map(PROGRAM.validate_json, lines):
                    children[_fork(program)] = (program.number, time.time())


def _tell_endings(children: dict[int, tuple[int, float]]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        number, began_at_s = children.pop(pid)
        ending = Ending(
            number=number,
            status=os.waitstatus_to_exitcode(status),
            began_at_s=began_at_s,
            ended_at_s=time.time(),
        )
        os.write(1, ENDING.dump_json(ending) + b"\n")


def _fork(program: Program) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _become(program)
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _become(program: Program) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    _enter(library, program.namespace)
    require_namespace()
    asyncio.run(_live(program))


def _enter(library: ctypes.CDLL, namespace: str) -> None:
    descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY)
    try:
        if library.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", namespace)
    finally:
        os.close(descriptor)


async def _live(program: Program) -> None:
    surroundings = Surroundings(
        me=program.me,
        seed=program.seed,
        began_at_s=program.began_at_s,
        starts_at_hour=program.starts_at_hour,
        scratch=program.scratch,
        certificate=program.certificate,
        key=program.key,
    )
    world = RealWorld(surroundings, program.task)
    if program.act:
        await _perform(program, world, surroundings)
        return
    await live(world)
    await asyncio.Event().wait()


async def _perform(program: Program, world: RealWorld, surroundings: Surroundings) -> None:
    kind = ACTS[program.act]
    settings = kind.settings.model_validate(program.settings)
    try:
        async with asyncio.timeout(settings.lasts_s + _GRACE_S):
            await kind.run(world, settings)
            while surroundings.tasks:
                await asyncio.wait(list(surroundings.tasks.values()))
    except OSError:
        pass  # nobody there, or the bound: either is a way for an act to end
    await asyncio.sleep(_SETTLE_S)


if __name__ == "__main__":
    main()
