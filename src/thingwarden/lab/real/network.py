"""A small network of real Linux namespaces: a home LAN, its gateway, and an internet beyond.

In: the hosts of a schedule. Out: ``Lab``, in whose namespaces programs run; nothing in it has a way out of the machine.
Must never: touch an interface of the root namespace, or run a command that names an address outside the lab.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.prefix import LAN, require_arguments_inside, require_inside
from thingwarden.lab.real.cut import CutTable, Mode, cut_table
from thingwarden.lab.real.layout import (
    AIR_NAME,
    GATEWAY_NAME,
    INTERNET_NAME,
    UPLINK_PORT,
    Layout,
    Step,
    detour_ends,
    names_of,
)
from thingwarden.lab.real.leftover import NAMESPACES, kill_inside, new_prefix, remove_namespaces, scratch_folder
from thingwarden.lab.timeline import Host

TOOLS: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "dnsmasq": "dnsmasq-base",
    "mosquitto": "mosquitto",
    "openssl": "openssl",
    "nmap": "nmap",
    "hping3": "hping3",
    "hydra": "hydra",
    "arpspoof": "dsniff",
}
"""Program and the Debian package that brings it."""

_HOST_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_STOP_GRACE_S: Final = 2.0
_SETTLE_LIMIT_S: Final = 3.0
_SETTLE_PAUSE_S: Final = 0.02
_COMMAND_TIMEOUT_S: Final = 60.0
_CONGESTION_CONTROLS: Final = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def require_tools(tools: Mapping[str, str] = TOOLS) -> None:
    """Check that the programs a lab needs are here.

    Args:
        tools: program and the Debian package that brings it.

    Raises:
        ConfigError: naming those missing; the hint says what to install.
    """
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = sorted(program for program in tools if shutil.which(program, path=search) is None)
    if missing:
        packages = " ".join(sorted({tools[program] for program in missing}))
        raise ConfigError("lab", f"missing programs: {', '.join(missing)}", f"apt-get install {packages}")


def require_namespace() -> None:
    """Refuse to go on unless this process lives in a namespace that a lab made.

    Raises:
        RequestError: it does not.
    """
    mine = Path("/proc/self/ns/net").stat().st_ino
    if not any(_inode(path) == mine for path in NAMESPACES.glob("tw-*")):
        raise RequestError("lab program", "started outside a lab's namespace", "Run a scenario instead.")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1  # another lab's, which has just been torn down


class Lab:
    """Namespaces for the LAN's hosts, the gateway (which is also the switch) and the internet.

    Use as a context manager, in the main thread: whatever ends it, SIGTERM included, its processes are killed and its
    namespaces and folder removed. Programs that it spawns die with the thread that spawned them, even by SIGKILL.

    Args:
        hosts: the LAN's machines; those with ``joins`` have no link until ``power_on``.

    Raises:
        RequestError: an address outside the LAN, a name that cannot be a namespace's, or one used twice.
    """

    GATEWAY = GATEWAY_NAME
    INTERNET = INTERNET_NAME

    def __init__(self, hosts: Sequence[Host]) -> None:
        _require_sound(hosts)
        self._hosts = {host.name: host for host in hosts}
        self._layout = Layout(prefix=new_prefix(), hosts=tuple(hosts), congestion=_congestion_control())
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._cuts: dict[str, CutTable] = {}
        self._detours: set[str] = set()
        self._stack = contextlib.ExitStack()
        self.scratch = Path()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            defer_signals = stack.enter_context(_leaving_on_signals())
            self.scratch = stack.enter_context(scratch_folder())
            stack.callback(self._tear_down)
            stack.callback(defer_signals)
            for step in self._layout.build():
                _run(step)
            self.settle()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process that was spawned, remove every namespace and the scratch folder; safe to call twice."""
        self._stack.close()

    def namespace(self, name: str) -> str:
        """The kernel's name of the namespace of host ``name``."""
        return self._layout.namespace(name)

    def interface(self, name: str) -> str:
        """The gateway's interface towards the host ``name``, or, for ``internet``, the uplink."""
        return UPLINK_PORT if name == INTERNET_NAME else self._layout.port(name)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The LAN's machines, in order."""
        return tuple(self._hosts.values())

    @property
    def host_names(self) -> tuple[str, ...]:
        """The LAN's hosts, in order."""
        return tuple(self._hosts)

    def spawn(self, name: str, argv: Sequence[str], *, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program in the namespace of host ``name``, what it says appended to ``log``; it dies with the lab.

        Raises:
            RequestError: an argument is an address outside the lab.
        """
        require_arguments_inside(argv)
        with (log or Path(os.devnull)).open("ab") as sink:
            process = subprocess.Popen(  # noqa: S603  an argument list, guarded above
                ["setpriv", "--pdeathsig", "KILL", *self._layout.inside(name, *argv)],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._processes.append((name, process))
        return process

    def run(self, name: str, argv: Sequence[str], *, stdin: str = "") -> str:
        """Run a program to its end in the namespace of host ``name`` and give what it printed.

        Raises:
            RequestError: an argument is an address outside the lab.
            ConfigError: the program failed.
        """
        require_arguments_inside(argv)
        return _run(Step(argv=self._layout.inside(name, *argv), stdin=stdin))

    def stop(self, process: subprocess.Popen[bytes], *, is_sudden: bool = False) -> None:
        """End a spawned program: ask it to, or, where ``is_sudden``, kill it as a power cut would."""
        _signal_group(process, signal.SIGKILL if is_sudden else signal.SIGTERM)
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def cut(self, target: str, mode: Mode = "silent") -> None:
        """Make a part of the network fail until ``restore``; a second cut of the same target replaces the first.

        Args:
            target: ``uplink``, ``resolver``, a service of the directory, or a host.
            mode: ``silent`` drops; ``refusing`` answers TCP by a reset and the rest by ICMP unreachable.

        Raises:
            RequestError: there is no such target.
        """
        table = cut_table(self._layout, target, mode)
        self.restore(target)
        self.run(table.host, ["nft", "-f", "-"], stdin=table.text)
        self._cuts[target] = table

    def restore(self, target: str) -> None:
        """Undo a cut; nothing happens where there is none."""
        table = self._cuts.pop(target, None)
        if table is not None:
            self.run(table.host, ["nft", "-f", "-"], stdin=table.deletion)

    def power_off(self, name: str) -> None:
        """Kill all that runs on a host, with no chance to close anything, and take its link and addresses."""
        host = self._host(name)
        # The link first: a dying process's kernel would still send resets.
        _run(self._layout.link_down(host))
        for place, process in self._processes:
            # One just spawned may not have entered its namespace yet.
            if place == name:
                self.stop(process, is_sudden=True)
        kill_inside(self.namespace(name))

    def power_on(self, name: str, address: str = "") -> None:
        """Give a host its link back, with another IPv4 address where one is given; its programs are the caller's.

        Raises:
            RequestError: no such host, or an address outside the LAN.
        """
        host = self._host(name)
        if address:
            _require_on_lan(address)
        _run(self._layout.link_up(host, address or host.address))
        self._await_links({name})

    def detour(self, name: str) -> tuple[str, str]:
        """Lead the link of host ``name``, or of ``internet``, through the namespace ``air``, for an emulator to carry.

        Returns:
            the two interfaces there: towards the host or the internet, and towards the gateway. Nothing passes between
            them by itself.

        Raises:
            RequestError: it is led there already.
        """
        port = self.interface(name)
        if port in self._detours:
            raise RequestError(f"link of {name}", "led through an emulator already", "a lab has one condition")
        for step in (*([] if self._detours else self._layout.open_air()), *self._layout.detour(port)):
            _run(step)
        self._detours.add(port)
        return detour_ends(port)

    def settle(self) -> None:
        """Wait until the kernel has noticed that every link is up; before that, packets would be lost."""
        self._await_links({INTERNET_NAME, *(host.name for host in self._hosts.values() if not host.joins)})

    def _await_links(self, names: set[str]) -> None:
        deadline_s = time.monotonic() + _SETTLE_LIMIT_S
        while names := {name for name in names if not self._is_up(name)}:
            if time.monotonic() > deadline_s:
                return
            time.sleep(_SETTLE_PAUSE_S)

    def _is_up(self, name: str) -> bool:
        return " UP " in _run(Step(argv=("ip", "-n", self.namespace(name), "-br", "link", "show", "eth0")))

    def _host(self, name: str) -> Host:
        if name not in self._hosts:
            raise RequestError(f"host {name}", "not on this lab's LAN", f"one of {', '.join(self._hosts)}")
        return self._hosts[name]

    def _tear_down(self) -> None:
        processes = [process for _, process in self._processes]
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        deadline_s = time.monotonic() + _STOP_GRACE_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline_s - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        remove_namespaces(self.namespace(name) for name in (*names_of(self._layout.hosts), AIR_NAME))


@contextlib.contextmanager
def _leaving_on_signals() -> Iterator[Callable[[], None]]:
    """Turn signals that end a process into exceptions, so that the lab is torn down on the way out.

    Yields:
        what to call when that begins: signals that come from then on take effect when it is done.
    """
    late: list[int] = []

    def defer() -> None:
        for number in before:
            signal.signal(number, lambda number, _: late.append(number))

    def leave(number: int, frame: FrameType | None) -> None:
        defer()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    # Python allows handlers in the main thread only.
    signals = _ENDING_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, leave) for number in signals}
    try:
        yield defer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if late:
            os.kill(os.getpid(), late[0])


def _run(step: Step) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            step.argv, input=step.stdin, capture_output=True, text=True, check=False, timeout=_COMMAND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(" ".join(step.argv), f"no end within {_COMMAND_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise ConfigError(" ".join(step.argv), done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout


def _require_sound(hosts: Sequence[Host]) -> None:
    names = [host.name for host in hosts]
    reserved = {GATEWAY_NAME, INTERNET_NAME, AIR_NAME, "uplink", "resolver"}
    for host in hosts:
        if not _HOST_NAME.fullmatch(host.name) or host.name in reserved or names.count(host.name) > 1:
            raise RequestError(f"host {host.name}", "not a name of its own", "lower-case letters, digits and dashes")
        _require_on_lan(host.address)
        if host.address6:
            require_inside(host.address6)


def _require_on_lan(address: str) -> None:
    require_inside(address)
    if IPv4Address(address) not in LAN:
        raise RequestError(f"host address {address}", "outside the LAN", f"an address of {LAN}")


def _congestion_control() -> str:
    """One that feels losses, as most devices have it, of those that any namespace may choose; BBR would hardly."""
    offered = _CONGESTION_CONTROLS.read_text(encoding="ascii").split() if _CONGESTION_CONTROLS.exists() else []
    return next((name for name in ("cubic", "reno") if name in offered), "")


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
