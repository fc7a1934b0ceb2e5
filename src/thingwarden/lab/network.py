"""A small network of real Linux namespaces: a gateway, a home LAN behind it, an internet before it.

In: hosts. Out: ``Lab``, in whose namespaces programs run; nothing in it has a way out of the machine.
Must never: touch an interface of the root namespace, or accept an address outside ``LAB_PREFIXES``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from thingwarden.domain.errors import ConfigError, RequestError

LAN: Final = ipaddress.IPv4Network("10.77.0.0/24")
UPLINK: Final = ipaddress.IPv4Network("192.0.2.0/24")
INTERNET: Final = (ipaddress.IPv4Network("203.0.113.0/24"), ipaddress.IPv4Network("198.51.100.0/24"))
"""Documentation prefixes (RFC 5737): no packet for them could find a real host even if one escaped."""

LAB_PREFIXES: Final = (
    LAN,
    UPLINK,
    *INTERNET,
    ipaddress.IPv4Network("224.0.0.251/32"),
    ipaddress.IPv4Network("239.255.255.250/32"),
    ipaddress.IPv4Network("255.255.255.255/32"),
)
"""All that traffic in the lab may be sent to: its own prefixes, mDNS, SSDP and the limited broadcast."""

GATEWAY: Final = ipaddress.IPv4Address("10.77.0.1")
GATEWAY_MAC: Final = "02:77:00:00:00:01"
LAN_BRIDGE: Final = "br0"
_UPLINK_GATEWAY: Final = "192.0.2.2"
_UPLINK_INTERNET: Final = "192.0.2.1"
_NAMESPACES: Final = Path("/run/netns")
_NAME_FORM: Final = re.compile(r"tw-([0-9a-f]+)-[a-z0-9-]+")
_STOP_GRACE_S: Final = 2.0

TOOLS: Final = {
    "ip": "iproute2",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "tcpdump": "tcpdump",
    "dnsmasq": "dnsmasq-base",
    "mosquitto": "mosquitto",
    "openssl": "openssl",
    "nmap": "nmap",
    "hping3": "hping3",
}
"""Program and the Debian package that brings it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine on the LAN: its name (also part of its namespace's name), address and MAC."""

    name: str
    address: ipaddress.IPv4Address
    mac: str


def require_inside(target: str | ipaddress.IPv4Address | ipaddress.IPv4Network) -> None:
    """Refuse an address or prefix that the lab does not own.

    Raises:
        RequestError: ``target`` is no IPv4 address or prefix, or any part of it lies outside ``LAB_PREFIXES``.
    """
    try:
        network = ipaddress.IPv4Network(str(target))
    except ValueError as error:
        raise RequestError(
            f"lab target {target}", "not an IPv4 address or prefix", "The lab knows no names."
        ) from error
    if not any(network.subnet_of(prefix) for prefix in LAB_PREFIXES):
        allowed = ", ".join(str(prefix) for prefix in LAB_PREFIXES)
        raise RequestError(f"lab target {target}", "outside the lab's own prefixes", f"Allowed: {allowed}.")


def require_arguments_inside(argv: Iterable[str]) -> None:
    """Refuse a command line in which any argument is an address or prefix outside the lab.

    Raises:
        RequestError: naming the first such argument.
    """
    for argument in argv:
        for part in re.split(r"[,=;@]", argument):
            with contextlib.suppress(ValueError):
                ipaddress.ip_network(part, strict=False)
                if "." in part or ":" in part:
                    require_inside(part)


def require_namespace() -> None:
    """Refuse to go on unless this process lives in a namespace that a lab made.

    Raises:
        RequestError: it does not.
    """
    mine = Path("/proc/self/ns/net").stat().st_ino
    if not any(path.stat().st_ino == mine for path in _NAMESPACES.glob("tw-*")):
        raise RequestError("lab program", "started outside a lab's namespace", "Run a scenario instead.")


def require_tools() -> None:
    """Check that the lab can run here.

    Raises:
        ConfigError: not root, or programs or paho-mqtt are missing; the hint says what to install.
    """
    missing = sorted(program for program in TOOLS if shutil.which(program, path=_search_path()) is None)
    if missing:
        packages = " ".join(sorted({TOOLS[program] for program in missing}))
        raise ConfigError("lab", f"missing programs: {', '.join(missing)}", f"apt-get install {packages}")
    if importlib.util.find_spec("paho") is None:
        raise ConfigError("lab", "the MQTT client paho-mqtt is not installed", "pip install 'thingwarden[lab]'")
    if os.geteuid() != 0:
        raise ConfigError("lab", "network namespaces need root", "Run it as root; docs/lab.md says what it does.")


def clean() -> list[str]:
    """Remove what labs whose process is gone have left behind; labs still running are not touched.

    Returns:
        the names of the namespaces removed.
    """
    names = sorted(path.name for path in _NAMESPACES.glob("tw-*")) if _NAMESPACES.is_dir() else []
    stale = [name for name in names if _is_orphan(name)]
    for name in stale:
        _remove_namespace(name)
    return stale


class Lab:
    """Namespaces for the LAN's hosts, the gateway (which is also the switch) and the internet.

    Use as a context manager: whatever ends it, its processes are killed and its namespaces removed.

    Args:
        hosts: the LAN's machines; addresses inside ``LAN``, names of ``[a-z0-9-]``.
        servers: addresses that the internet namespace answers for.
    """

    GATEWAY = "gateway"
    INTERNET = "internet"

    def __init__(self, hosts: Sequence[Host], servers: Sequence[ipaddress.IPv4Address]) -> None:
        for host in hosts:
            require_inside(host.address)
        for server in servers:
            require_inside(server)
        self._prefix = f"tw-{os.getpid():x}"
        self._hosts = tuple(hosts)
        self._servers = tuple(servers)
        self._processes: list[subprocess.Popen[bytes]] = []

    def namespace(self, name: str) -> str:
        """The kernel's name of the namespace of host ``name``."""
        return f"{self._prefix}-{name}"

    def __enter__(self) -> Self:
        try:
            for argv in self.setup_commands():
                _run(argv)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process that was spawned, remove every namespace; safe to call twice."""
        for process in self._processes:
            _signal_group(process, signal.SIGTERM)
        deadline_s = time.monotonic() + _STOP_GRACE_S
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline_s - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        for name in (self.GATEWAY, self.INTERNET, *(host.name for host in self._hosts)):
            _remove_namespace(self.namespace(name))

    def spawn(self, name: str, argv: Sequence[str], *, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program in the namespace of host ``name``, what it says appended to ``log``; it dies with the lab.

        Raises:
            RequestError: an argument is an address outside the lab.
        """
        require_arguments_inside(argv)
        with (log or Path(os.devnull)).open("ab") as sink:
            process = subprocess.Popen(  # noqa: S603  an argument list, guarded above
                ["ip", "netns", "exec", self.namespace(name), *argv],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def run(self, name: str, argv: Sequence[str]) -> str:
        """Run a program to its end in the namespace of host ``name`` and give what it printed.

        Raises:
            RequestError: an argument is an address outside the lab.
            ConfigError: the program failed.
        """
        require_arguments_inside(argv)
        return _run(["ip", "netns", "exec", self.namespace(name), *argv])

    def stop(self, process: subprocess.Popen[bytes], *, is_sudden: bool = False) -> None:
        """End a spawned program: ask it to, or, where ``is_sudden``, kill it as a power cut would."""
        _signal_group(process, signal.SIGKILL if is_sudden else signal.SIGTERM)
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def setup_commands(self) -> list[list[str]]:
        """The argument lists that build the network, in order."""
        names = [self.GATEWAY, self.INTERNET, *(host.name for host in self._hosts)]
        commands = [["ip", "netns", "add", self.namespace(name)] for name in names]
        for name in names:
            commands += self._quiet_commands(name)
        commands += self._gateway_commands()
        commands += self._internet_commands()
        for host in self._hosts:
            commands += self._host_commands(host)
        return commands

    def _inside(self, name: str, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(name), *argv]

    def _quiet_commands(self, name: str) -> list[list[str]]:
        return [
            self._inside(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"),
            ["ip", "-n", self.namespace(name), "link", "set", "lo", "up"],
        ]

    def _gateway_commands(self) -> list[list[str]]:
        gateway, internet = self.namespace(self.GATEWAY), self.namespace(self.INTERNET)
        return [
            ["ip", "-n", gateway, "link", "add", LAN_BRIDGE, "address", GATEWAY_MAC, "type", "bridge"],
            ["ip", "-n", gateway, "addr", "add", f"{GATEWAY}/{LAN.prefixlen}", "dev", LAN_BRIDGE],
            ["ip", "-n", gateway, "link", "set", LAN_BRIDGE, "up"],
            _pair_command(gateway, "wan0", internet, "eth0"),
            ["ip", "-n", gateway, "addr", "add", f"{_UPLINK_GATEWAY}/{UPLINK.prefixlen}", "dev", "wan0"],
            ["ip", "-n", gateway, "link", "set", "wan0", "up"],
            ["ip", "-n", internet, "addr", "add", f"{_UPLINK_INTERNET}/{UPLINK.prefixlen}", "dev", "eth0"],
            ["ip", "-n", internet, "link", "set", "eth0", "up"],
            ["ip", "-n", gateway, "route", "add", "default", "via", _UPLINK_INTERNET],
            self._inside(self.GATEWAY, "sysctl", "-qw", "net.ipv4.ip_forward=1"),
        ]

    def _internet_commands(self) -> list[list[str]]:
        internet = self.namespace(self.INTERNET)
        commands = [["ip", "-n", internet, "addr", "add", f"{server}/32", "dev", "lo"] for server in self._servers]
        return [*commands, ["ip", "-n", internet, "route", "add", str(LAN), "via", _UPLINK_GATEWAY]]

    def _host_commands(self, host: Host) -> list[list[str]]:
        gateway, namespace = self.namespace(self.GATEWAY), self.namespace(host.name)
        port = f"port{int(host.address) & 0xFF}"
        return [
            _pair_command(gateway, port, namespace, "eth0", host.mac),
            ["ip", "-n", gateway, "link", "set", port, "master", LAN_BRIDGE, "up"],
            # Without it the sender's kernel hands over super-packets with unfinished checksums.
            self._inside(host.name, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"),
            ["ip", "-n", namespace, "addr", "add", f"{host.address}/{LAN.prefixlen}", "dev", "eth0"],
            ["ip", "-n", namespace, "link", "set", "eth0", "up"],
            ["ip", "-n", namespace, "route", "add", "default", "via", str(GATEWAY)],
        ]


def _pair_command(near: str, near_name: str, far: str, far_name: str, far_mac: str | None = None) -> list[str]:
    address = ["address", far_mac] if far_mac else []
    return [
        "ip", "link", "add", "name", far_name, "netns", far, *address,
        "type", "veth", "peer", "name", near_name, "netns", near,
    ]  # fmt: skip


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    if done.returncode != 0:
        raise ConfigError(" ".join(argv), done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout


def _is_orphan(name: str) -> bool:
    match = _NAME_FORM.fullmatch(name)
    return match is not None and not Path(f"/proc/{int(match[1], 16)}").exists()


def _remove_namespace(name: str) -> None:
    if not (_NAMESPACES / name).exists():
        return
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)  # noqa: S603, S607
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # noqa: S603, S607


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
