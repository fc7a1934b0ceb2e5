"""Run a scenario for real: build its network, let its devices live, attack them, capture, write the truth.

In: a recipe and a seed. Out: a folder with ``<name>.pcap.gz``, ``truth.json`` and ``manifest.json``.
Must never: leave a process or a namespace behind, however it ends.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import heapq
import ipaddress
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import thingwarden
from thingwarden.domain.errors import ConfigError
from thingwarden.lab.attacks import flood_arguments, own_arguments, scan_arguments
from thingwarden.lab.network import LAN_BRIDGE, Lab, clean, require_tools
from thingwarden.lab.recipe import AttackEvent, MishapEvent, Recipe, Schedule, draw_schedule, load_recipe, recipe_sha256
from thingwarden.lab.truth import Span, truth_from_schedule, write_truth
from thingwarden.lab.wire import SERVERS

MANIFEST_FORMAT: Final = "thingwarden-lab-run/1"
CONTROL_PORT: Final = 6667
_CAPTURE_START_S: Final = 5.0
_SERVERS_START_S: Final = 1.0
_POLL_S: Final = 0.02

Report = Callable[[str], None]


def run_scenario(
    recipe: Path,
    out: Path,
    *,
    seed: int | None = None,
    duration_s: float | None = None,
    report: Report = lambda _: None,
) -> Path:
    """Run a recipe in namespaces of its own, in real time.

    Args:
        recipe: TOML file.
        out: folder to write into; made where missing, its files of the same names replaced.
        seed: draws the schedule and every device's jitter; the recipe's own by default.
        duration_s: seconds of capture; the recipe's own by default. Moments scale with it.
        report: told one line per thing that happens.

    Returns:
        the manifest's path.

    Raises:
        ConfigError: not root, programs missing, or a recipe that is wrong.
    """
    parsed = load_recipe(recipe)
    schedule = draw_schedule(
        parsed,
        seed=parsed.seed if seed is None else seed,
        duration_s=parsed.duration_s if duration_s is None else duration_s,
    )
    require_tools()
    clean()
    out.mkdir(parents=True, exist_ok=True)
    with _dies_tidily(), tempfile.TemporaryDirectory(prefix="tw-lab-") as scratch:
        run = _Run(parsed, schedule, Path(scratch), report)
        run.play()
        return _write_outcome(run, recipe, out)


@contextlib.contextmanager
def _dies_tidily() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the lab is torn down on the way out."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Run:
    """One run: its lab, its agenda, and when each event really began and ended."""

    def __init__(self, recipe: Recipe, schedule: Schedule, scratch: Path, report: Report) -> None:
        self.recipe = recipe
        self.schedule = schedule
        self.scratch = scratch
        self.capture = scratch / "capture.pcap"
        self.began_at_s = 0.0
        self.measured: dict[str, Span] = {}
        self._report = report
        self._lab = Lab(schedule.hosts, [ipaddress.IPv4Address(address) for address in SERVERS.values()])
        self._devices: dict[str, subprocess.Popen[bytes]] = {}
        self._resolver: subprocess.Popen[bytes] | None = None
        self._attacks: dict[str, tuple[subprocess.Popen[bytes], float, float]] = {}
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    def play(self) -> None:
        """Build, start, live through the agenda, tear down."""
        _make_certificate(self.scratch)
        with self._lab:
            self._start_servers()
            capture = self._start_capture()
            self.began_at_s = time.time()
            self._report(f"{len(self.schedule.hosts)} devices live for {self.schedule.duration_s:.0f} s")
            for host in self.schedule.hosts:
                self._start_device(host.name)
            for event in self.schedule.attacks:
                self._plan(event.begins_s, partial(self._start_attack, event))
            for mishap in self.schedule.mishaps:
                self._plan(mishap.begins_s, partial(self._begin_mishap, mishap))
            self._live()
            self._finish_attacks()
            self._lab.stop(capture)

    def dropped_packets(self) -> int:
        """How many packets the capture missed, as tcpdump says at its end; -1 where it did not say."""
        said = self._log("tcpdump").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"(\d+) packets? dropped by kernel", said)
        return int(match[1]) if match else -1

    def _plan(self, offset_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (offset_s, next(self._order), act))

    def _live(self) -> None:
        while (offset_s := time.time() - self.began_at_s) < self.schedule.duration_s:
            while self._agenda and self._agenda[0][0] <= offset_s:
                heapq.heappop(self._agenda)[2]()
            self._note_ended_attacks()
            time.sleep(_POLL_S)

    def _log(self, name: str) -> Path:
        return self.scratch / f"{name}.log"

    def _start_servers(self) -> None:
        self._start_program("internet", "internet", {"key": str(self.scratch / "key.pem")})
        self._start_resolver()
        settings = self.scratch / "mosquitto.conf"
        settings.write_text("listener 1883\nallow_anonymous true\npersistence false\nuser root\n", encoding="utf-8")
        for device in self.recipe.devices:
            if device.kind == "hub":
                self._lab.spawn(device.name, ["mosquitto", "-c", str(settings)], log=self._log("mosquitto"))
        time.sleep(_SERVERS_START_S)

    def _start_resolver(self) -> None:
        names = {**SERVERS, **{f"{host.name}.lan": str(host.address) for host in self.schedule.hosts}}
        hub = next((host for host in self.schedule.hosts if self._kind(host.name) == "hub"), None)
        if hub:
            names["hub.lan"] = str(hub.address)
        argv = [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
            "--bind-interfaces", f"--interface={LAN_BRIDGE}", "--pid-file=", "--dhcp-authoritative",
            f"--dhcp-leasefile={self.scratch / 'leases'}", "--dhcp-range=10.77.0.0,static",
            *(f"--address=/{name}/{address}" for name, address in names.items() if not name.endswith(".invalid")),
            *(f"--dhcp-host={host.mac},{host.address}" for host in self.schedule.hosts),
        ]  # fmt: skip
        self._resolver = self._lab.spawn("gateway", argv, log=self._log("dnsmasq"))

    def _start_capture(self) -> subprocess.Popen[bytes]:
        argv = [
            "tcpdump", "-i", LAN_BRIDGE, "-s", str(self.recipe.snap_bytes), "-B", "8192", "-U", "-Z", "root", "-n",
            "-w", str(self.capture),
        ]  # fmt: skip
        process = self._lab.spawn("gateway", argv, log=self._log("tcpdump"))
        log = self._log("tcpdump")
        deadline_s = time.monotonic() + _CAPTURE_START_S
        while b"listening on" not in log.read_bytes():
            if time.monotonic() > deadline_s or process.poll() is not None:
                raise ConfigError("tcpdump", log.read_text(encoding="utf-8", errors="replace").strip() or "no answer")
            time.sleep(_POLL_S)
        return process

    def _kind(self, name: str) -> str:
        return next(device.kind for device in self.recipe.devices if device.name == name)

    def _start_device(self, name: str, *, is_booting: bool = False) -> None:
        host = next(host for host in self.schedule.hosts if host.name == name)
        pace = next(device.pace for device in self.recipe.devices if device.name == name)
        extra = {"mac": host.mac, "pace": pace, "is_booting": is_booting}
        self._devices[name] = self._start_program(name, self._kind(name), extra)

    def _start_program(self, name: str, kind: str, extra: dict[str, Any]) -> subprocess.Popen[bytes]:
        identity = {
            "name": name,
            "kind": kind,
            "mac": "",
            "pace": 1.0,
            "seed": str(self.schedule.seed),
            "authority": str(self.scratch / "certificate.pem"),
            "key": "",
            "peers": {host.name: str(host.address) for host in self.schedule.hosts},
            "control_port": CONTROL_PORT,
            "is_booting": False,
            **extra,
        }
        argv = [sys.executable, "-m", "thingwarden.lab.devices", json.dumps(identity)]
        return self._lab.spawn(name, argv, log=self._log(name))

    def _start_attack(self, event: AttackEvent) -> None:
        targets = [str(address) for address in event.on]
        port = event.port or 0
        if event.kind == "scan":
            argv = scan_arguments(targets, event.count, event.packets_per_s)
        elif event.kind == "flood":
            argv = flood_arguments(targets[0], port, event.count, event.packets_per_s)
        else:
            seed = f"{self.schedule.seed}:{event.name}"
            argv = own_arguments(event.kind, targets[0], port, lasts_s=event.lasts_s, seed=seed)
        started_at_s = time.time()
        process = self._lab.spawn(event.by, argv, log=self._log(event.name))
        self._attacks[event.name] = (process, started_at_s, started_at_s + event.lasts_s)
        self._report(f"{event.begins_s:6.1f} s  {event.by}: {event.name}")

    def _note_ended_attacks(self) -> None:
        for name, (process, started_at_s, must_end_at_s) in list(self._attacks.items()):
            # Own code looks at the bound between two acts; a tool is stopped at it.
            if process.poll() is None and time.time() > must_end_at_s:
                self._lab.stop(process)
            if process.poll() is not None:
                self.measured[name] = (started_at_s, time.time())
                del self._attacks[name]
                self._require_success(name, process)

    def _require_success(self, name: str, process: subprocess.Popen[bytes]) -> None:
        # Negative is our own signal; a truth about an attack that never ran would be a lie.
        if process.returncode > 0:
            said = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ConfigError(f"lab attack {name}", said[-1] if said else f"exit status {process.returncode}")

    def _finish_attacks(self) -> None:
        for name, (process, started_at_s, _) in self._attacks.items():
            self._lab.stop(process)
            self.measured[name] = (started_at_s, time.time())

    def _begin_mishap(self, mishap: MishapEvent) -> None:
        self._report(f"{mishap.begins_s:6.1f} s  {mishap.of}: {mishap.name} (benign)")
        started_at_s = time.time()
        if mishap.kind == "reboot":
            self._lab.stop(self._devices[mishap.of], is_sudden=True)
            self._lab.run(mishap.of, ["ip", "link", "set", "eth0", "down"])
            self._lab.run(mishap.of, ["ip", "addr", "flush", "dev", "eth0"])
        elif self._resolver is not None:
            self._lab.stop(self._resolver)
        self._plan(mishap.begins_s + mishap.lasts_s, partial(self._end_mishap, mishap, started_at_s))

    def _end_mishap(self, mishap: MishapEvent, started_at_s: float) -> None:
        if mishap.kind == "reboot":
            self._lab.run(mishap.of, ["ip", "link", "set", "eth0", "up"])
            self._start_device(mishap.of, is_booting=True)
        else:
            self._start_resolver()
        # What a device catches up on belongs to its mishap as well.
        self.measured[mishap.name] = (started_at_s, time.time() + mishap.lasts_s)


def _make_certificate(folder: Path) -> None:
    names = ",".join(f"DNS:{name}" for name in SERVERS)
    argv = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "30", "-subj", "/CN=lab", "-addext", f"subjectAltName={names}",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ConfigError("openssl", done.stderr.strip())


def _write_outcome(run: _Run, recipe: Path, out: Path) -> Path:
    capture, truth_path, manifest = out / f"{run.recipe.name}.pcap.gz", out / "truth.json", out / "manifest.json"
    with run.capture.open("rb") as raw, capture.open("wb") as target:
        # No name and no time inside, so that equal captures are equal files.
        target.write(gzip.compress(raw.read(), compresslevel=9, mtime=0))
    truth = truth_from_schedule(run.recipe, run.schedule, began_at_s=run.began_at_s, measured=run.measured)
    write_truth(truth, truth_path)
    content = {
        "format": MANIFEST_FORMAT,
        "scenario": run.recipe.name,
        "exclude_from_training": run.recipe.exclude_from_training,
        "seed": run.schedule.seed,
        "duration_s": run.schedule.duration_s,
        "snap_bytes": run.recipe.snap_bytes,
        "dropped_packets": run.dropped_packets(),
        "recipe": {"name": recipe.name, "sha256": recipe_sha256(recipe)},
        "files": {path.name: _described(path) for path in (capture, truth_path)},
        "tools": tool_versions(),
        "command": f"thingwarden lab {run.recipe.name} --out DIR",
    }
    manifest.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return manifest


def _described(path: Path) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}


_VERSION_ARGUMENTS: Final = {
    "tcpdump": ["tcpdump", "--version"],
    "nmap": ["nmap", "--version"],
    "hping3": ["hping3", "--version"],
    "mosquitto": ["mosquitto", "-h"],
    "dnsmasq": ["dnsmasq", "--version"],
    "iproute2": ["ip", "-V"],
}


def tool_versions() -> dict[str, str]:
    """The first line that each tool says about itself."""
    versions = {"thingwarden": thingwarden.__version__, "python": sys.version.split()[0]}
    for name, argv in _VERSION_ARGUMENTS.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        versions[name] = (done.stdout or done.stderr).strip().splitlines()[0]
    return versions
