"""The packaged programs that a lab's network consists of: resolver with DHCP, MQTT brokers, capture, certificate.

In: a ``Lab`` and its hosts. Out: running daemons that have said that they are ready.
Must never: ask a resolver outside the lab, or change to another user: a user namespace has but one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import LAN
from thingwarden.lab.real.capture import READY, capture_arguments
from thingwarden.lab.real.layout import GATEWAY_NAME, LAN_BRIDGE
from thingwarden.lab.real.network import Lab
from thingwarden.lab.timeline import Host

BROKER_PORT: Final = 1883
BROKER_TLS_PORT: Final = 8883
_READY_S: Final = 10.0
_POLL_S: Final = 0.01
_NAME_TTL_S: Final = 60
_UNRESOLVED: Final = ".invalid"


class Resolver:
    """dnsmasq on the gateway: the names of the lab's internet and LAN, and DHCP.

    Args:
        lab: whose gateway it runs on.
        hosts: of the LAN; the first hub is also known as ``hub.lan``.
    """

    def __init__(self, lab: Lab, hosts: Iterable[Host]) -> None:
        self._lab = lab
        self._hosts = {host.name: host for host in hosts}
        self._addresses = {host.name: host.address for host in self._hosts.values()}
        self._names, self._leases = lab.scratch / "names", lab.scratch / "dhcp-hosts"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; returns once it answers.

        Raises:
            ConfigError: it does not start.
        """
        self._write_tables()
        argv = [
            "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", "--bind-interfaces", f"--interface={LAN_BRIDGE}", "--except-interface=lo", "--pid-file=",
            "--log-facility=-", "--address=/#/", f"--local-ttl={_NAME_TTL_S}", f"--addn-hosts={self._names}",
            "--dhcp-authoritative", f"--dhcp-range={LAN.network_address},static", "--no-ping",
            f"--dhcp-leasefile={self._lab.scratch / 'leases'}", f"--dhcp-hostsfile={self._leases}",
        ]  # fmt: skip
        self._process = start_daemon(
            self._lab, GATEWAY_NAME, argv, "started, version", log=self._lab.scratch / "dnsmasq.log"
        )

    def move(self, name: str, address: str) -> None:
        """Give a host another address from now on."""
        self._addresses[name] = address
        self._write_tables()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def _write_tables(self) -> None:
        lines = [
            f"{address} {service.name}"
            for service in SERVICES.values()
            if not service.name.endswith(_UNRESOLVED)
            for address in (service.address, service.address6)
        ]
        hub = next((host.name for host in self._hosts.values() if host.kind == "hub"), "")
        for host in self._hosts.values():
            names = dict.fromkeys([f"{host.name}.lan", *(["hub.lan"] if host.name == hub else [])])
            addresses = [self._addresses[host.name], *([host.address6] if host.address6 else [])]
            lines += [f"{address} {' '.join(names)}" for address in addresses]
        self._names.write_text("\n".join(lines) + "\n", encoding="ascii")
        leases = [f"{host.mac},{self._addresses[host.name]}" for host in self._hosts.values()]
        self._leases.write_text("\n".join(leases) + "\n", encoding="ascii")


def start_broker(lab: Lab, host: str, certificate: Path, key: Path) -> None:
    """Run Mosquitto on a host, plain and over TLS, open to everybody as most home hubs are.

    Raises:
        ConfigError: it does not start.
    """
    settings = lab.scratch / f"mosquitto-{host}.conf"
    settings.write_text(
        f"listener {BROKER_PORT}\nallow_anonymous true\n"
        f"listener {BROKER_TLS_PORT}\ncertfile {certificate}\nkeyfile {key}\n"
        "persistence false\nuser root\nlog_dest stderr\n",
        encoding="utf-8",
    )
    start_daemon(lab, host, ["mosquitto", "-c", str(settings)], "running", log=lab.scratch / f"mosquitto-{host}.log")


class LanCapture:
    """The capture on the gateway's LAN side.

    Args:
        lab: whose gateway it runs on.
        snap_bytes: how much of each packet is kept.

    Raises:
        ConfigError: it does not start.
    """

    def __init__(self, lab: Lab, snap_bytes: int) -> None:
        self.path = lab.scratch / "capture.pcap"
        self._lab = lab
        self._log = lab.scratch / "capture.log"
        argv = capture_arguments(LAN_BRIDGE, self.path, snap_bytes)
        self._process = start_daemon(lab, GATEWAY_NAME, argv, READY, log=self._log)

    def stop(self) -> int:
        """End it; how many packets it missed, as it says itself.

        Raises:
            ConfigError: it died before.
        """
        self._lab.stop(self._process)
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        if self._process.returncode != 0:
            raise ConfigError("lab capture", said or f"exit status {self._process.returncode}")
        return int(json.loads(said.splitlines()[-1])["dropped_packets"])


def make_certificate(folder: Path, hosts: Iterable[Host]) -> tuple[Path, Path]:
    """Make a certificate for every name of the lab that signs itself, and its key; both PEM.

    Raises:
        ConfigError: openssl failed.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = [*SERVICES, "hub.lan", *(f"{host.name}.lan" for host in hosts)]
    argv = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "30", "-subj", "/CN=lab", "-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ConfigError("openssl", done.stderr.strip())
    return certificate, key


def start_daemon(
    lab: Lab, host: str, argv: list[str], ready: str, *, log: Path, within_s: float = _READY_S
) -> subprocess.Popen[bytes]:
    """Run a daemon; returns once its ``log``, begun anew, says that it is ``ready``, within so many seconds.

    Raises:
        ConfigError: it ended, or said nothing of the kind in time.
    """
    log.unlink(missing_ok=True)
    process = lab.spawn(host, argv, log=log)
    deadline_s = time.monotonic() + within_s
    while ready.encode() not in (said := log.read_bytes()):
        if time.monotonic() > deadline_s or process.poll() is not None:
            raise ConfigError(f"lab {log.stem}", said.decode("utf-8", "replace").strip() or "it does not start")
        time.sleep(_POLL_S)
    return process


_VERSION_ARGUMENTS: Final[Mapping[str, list[str]]] = {
    "nmap": ["nmap", "--version"],
    "hping3": ["hping3", "--version"],
    "hydra": ["hydra", "-h"],
    "mosquitto": ["mosquitto", "-h"],
    "dnsmasq": ["dnsmasq", "--version"],
    "iproute2": ["ip", "-V"],
    "openssl": ["openssl", "version"],
}


def tool_versions() -> dict[str, str]:
    """The first line that each program says about itself."""
    versions = {}
    for name, argv in _VERSION_ARGUMENTS.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        versions[name] = (done.stdout or done.stderr).strip().splitlines()[0].partition(" (")[0]
    return versions
