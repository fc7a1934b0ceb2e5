"""Suricata as a contestant: one process for each set of rules, handed one capture after the other.

In: the path of a capture, a set of rules. Out: ``AlertBatch``; what the process cost.
Must never: leave its process behind, or pass over a rule that it refused in silence.
Source: "Interacting via Unix Socket" and "Eve JSON Format" in the manual of Suricata 7.0.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from thingwarden.domain.alert import AlertBatch
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.ingest.compression import open_stream
from thingwarden.ingest.eve import read_alerts
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.source import open_source

PROGRAM: Final = "suricata"
CONFIGURATION: Final = Path("/etc/suricata/suricata.yaml")
"""As Debian packages it: what most people run."""

HOME_NETWORKS: Final = (
    "192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "169.254.0.0/16", "fc00::/7", "fe80::/10", "2001:db8:77::/64",
)  # fmt: skip
"""What is watched: the packaged configuration's networks, link-local ones, and the lab's IPv6 prefix."""

_START_BOUND_S: Final = 1_800.0
_CAPTURE_BOUND_S: Final = 900.0
_ANSWER_BOUND_S: Final = 120.0
_POLL_S: Final = 0.05
_LARGEST_ANSWER_BYTES: Final = 1 << 20
_LARGEST_RULE_FILE_BYTES: Final = 64 << 20
_CLOCK_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIBIBYTE: Final = 1024
_LOADED: Final = re.compile(r"(\d+) rules? successfully loaded, (\d+) rules? failed")
_RULES: Final = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Unpacked rules.

    Attributes:
        name: of the folder that they came in.
        folder: holds ``*.rules`` and, where the set has it, ``classification.config``.
        sha256: of all rules, file by file.
        has_any_source: whether rules against attacks from outside are applied to traffic from inside, too. The
            packaged configuration does not; neighbours that attack each other go unseen by most rules then.
    """

    name: str
    folder: Path
    sha256: str
    has_any_source: bool = False

    @property
    def title(self) -> str:
        """What tells the contestant from others."""
        return f"{PROGRAM} {self.name}{', any source' if self.has_any_source else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCost:
    """What a process has cost so far: seconds of processor time, peak resident bytes."""

    cpu_s: float
    peak_bytes: int


def reason_not_run(configuration: Path = CONFIGURATION) -> str:
    """Why Suricata cannot run here; empty where it can."""
    if shutil.which(PROGRAM) is None:
        return "no program named suricata; `sh deploy/apt.sh --optional` installs it where the system has it"
    return "" if configuration.is_file() else f"its packaged configuration {configuration} is missing"


def find_rule_folders(data: Path) -> tuple[Path, ...]:
    """The folders under ``data/rules``, each of which is one set."""
    return tuple(sorted(path for path in (data / _RULES).glob("*") if path.is_dir()))


def unpack_rules(source: Path, target: Path) -> RuleSet:
    """Unpack a set, whether it is one archive or single files, compressed or not.

    Args:
        source: its folder.
        target: made where missing.

    Raises:
        InputError: no rules in it, or an archive that is none.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if ".tar" in path.suffixes:
            _unpack_archive(path, target)
        elif ".rules" in path.suffixes or path.suffix == ".config":
            unpack_file(path, target / path.name.removesuffix(".xz").removesuffix(".gz"))
    rules = sorted(target.glob("*.rules"))
    if not rules:
        raise InputError(str(source), "holds no rules", "expected *.rules, *.rules.xz or one .tar.gz of such")
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in rules))
    return RuleSet(name=source.name, folder=target, sha256=digest.hexdigest())


def unpack_file(source: Path, target: Path) -> Path:
    """Write ``source`` without its compression to ``target``; the target.

    Raises:
        InputError: corrupt, or a bomb.
    """
    with open_stream(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return target


def _unpack_archive(path: Path, target: Path) -> None:
    """The archive's rules and configuration, without its folders: no member decides where it is written."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                is_wanted = member.isfile() and name.endswith((".rules", ".config"))
                if is_wanted and member.size > _LARGEST_RULE_FILE_BYTES:
                    raise InputError(f"{path}, {name}", f"larger than {_LARGEST_RULE_FILE_BYTES} bytes", "split it")
                if is_wanted and (content := archive.extractfile(member)) is not None:
                    (target / name).write_bytes(content.read())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(str(path), f"not an archive of rules: {error}", "expected a tar of *.rules files") from error


def rule_options(rules: RuleSet, log: Path) -> list[str]:
    """Suricata's command line but for where its packets come from.

    Args:
        rules: loaded instead of those that its configuration names.
        log: folder that it writes into.
    """
    # One thread sees packets in order; several give alerts on flows that time out another thread's clock.
    settings = [f"vars.address-groups.HOME_NET=[{','.join(HOME_NETWORKS)}]", "runmode=single"]
    if rules.has_any_source:
        settings.append("vars.address-groups.EXTERNAL_NET=any")
    for key, name in (("classification-file", "classification.config"), ("reference-config-file", "reference.config")):
        if (rules.folder / name).is_file():
            settings.append(f"{key}={rules.folder / name}")
    options = [PROGRAM, "-c", str(CONFIGURATION), "-l", str(log), "-k", "none", "-S", str(rules.folder / "*.rules")]
    return [*options, "--pidfile", str(log / "pid"), *(word for setting in settings for word in ("--set", setting))]


def version() -> str:
    """As the program states it.

    Raises:
        RequestError: it does not run.
    """
    try:
        done = subprocess.run([PROGRAM, "-V"], capture_output=True, text=True, check=True)  # noqa: S603 found on PATH
    except (OSError, subprocess.CalledProcessError) as error:
        raise RequestError(PROGRAM, str(error), "install it, or leave it out") from error
    found = re.search(r"version (\S+)", done.stdout)
    return found[1] if found else done.stdout.strip()


class Suricata:
    """A running engine; use it in a ``with`` statement.

    Args:
        rules: what it looks for.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._folder = Path(tempfile.mkdtemp(prefix="tw-suricata-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._capture_count = 0

    def __enter__(self) -> Self:
        """Start it and wait until it has loaded its rules.

        Raises:
            RequestError: it did not start; the message ends with what it wrote last.
        """
        path = self._folder / "control"
        command = [*rule_options(self._rules, self._folder), f"--unix-socket={path}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        try:
            self._connect(path)
            self._ask({"version": "0.2"})
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def rule_counts(self) -> tuple[int, int]:
        """Rules loaded, and rules refused as broken."""
        found = _LOADED.search(self._log())
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def alerts(self, capture: Path) -> AlertBatch:
        """Every alert on one capture; nothing of the captures before it is remembered.

        Args:
            capture: pcap or pcapng, compressed or not.

        Raises:
            InputError: it is corrupt, or no capture.
            RequestError: the engine ended, or did not end with this capture.
        """
        found = open_source(capture).format
        if found not in (Format.PCAP, Format.PCAPNG):
            # Suricata tries for a minute to end with such a file, then dies.
            raise InputError(str(capture), f"is {found.value}, not packets", "give pcap or pcapng")
        self._capture_count += 1
        out = self._folder / f"capture-{self._capture_count}"
        out.mkdir()
        plain = unpack_file(capture, out / "packets")
        try:
            self._ask({"command": "pcap-file", "arguments": {"filename": str(plain), "output-dir": str(out)}})
            self._wait(capture)
            log = out / "eve.json"
            if not log.is_file():
                raise RequestError(str(capture), "Suricata wrote no log", "is eve-log enabled in its configuration?")
            return read_alerts(log)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def cost(self) -> ProcessCost:
        """Of the process since it started, loading of rules included."""
        assert self._process is not None, "not started"
        return read_cost(self._process.pid)

    def _connect(self, path: Path) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + _START_BOUND_S
        self._socket.settimeout(_ANSWER_BOUND_S)
        while True:
            try:
                return self._socket.connect(str(path))
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise self._failure("did not start") from None
                time.sleep(_POLL_S)

    def _ask(self, request: Mapping[str, Any]) -> Any:
        """One request and the message of its answer."""
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._receive()
        except OSError as error:
            raise self._failure(f"does not answer ({error})") from error
        if answer.get("return") != "OK":
            raise self._failure(f"refused {request}: {answer.get('message')}")
        return answer.get("message")

    def _receive(self) -> dict[str, Any]:
        """Read until what came is a whole JSON object."""
        received = b""
        while len(received) < _LARGEST_ANSWER_BYTES:
            part = self._socket.recv(65_536)
            if not part:
                raise OSError("it closed the connection")
            received += part
            try:
                answer = json.loads(received)
            except ValueError:
                continue
            if isinstance(answer, dict):
                return answer
        raise OSError("its answer is no JSON object")

    def _wait(self, capture: Path) -> None:
        """Until no capture is queued and none is read."""
        deadline_s = time.monotonic() + _CAPTURE_BOUND_S
        while time.monotonic() < deadline_s:
            if not self._ask({"command": "pcap-file-number"}) and self._ask({"command": "pcap-current"}) == "None":
                return
            time.sleep(_POLL_S)
        raise self._failure(f"has not finished {capture.name} after {_CAPTURE_BOUND_S:.0f} s")

    def _failure(self, why: str) -> RequestError:
        said = " / ".join(self._log().strip().splitlines()[-3:])
        return RequestError(self._rules.title, f"{why}: {said[-400:]}", "run it by hand")

    def _log(self) -> str:
        path = self._folder / "suricata.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def _end(self) -> None:
        self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def read_cost(pid: int) -> ProcessCost:
    """What a live process has cost, from /proc.

    Raises:
        RequestError: there is no such process.
    """
    try:
        counted = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError as error:
        raise RequestError(f"process {pid}", f"has ended: {error}") from error
    ticks = int(counted[11]) + int(counted[12])
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    peak_bytes = int(peak[1]) * _KIBIBYTE if peak else 0
    return ProcessCost(cpu_s=ticks / _CLOCK_TICKS_PER_S, peak_bytes=peak_bytes)
