"""A scenario runs for real, shortened, with root and without, and leaves its outcome and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.packet import TCP_ACK, TCP_SYN, PacketBatch
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.truth import read_timing, read_truth
from user_without_rights import NOBODY, start_as_nobody

NAMESPACES = Path("/run/netns")
DURATION_S = 30
RUN = ["-m", "thingwarden", "lab", "run", "sample", "--seed", "5", "--json"]

pytestmark = pytest.mark.root


@dataclass(frozen=True, slots=True)
class Finished:
    """A run: its folder, and what it printed."""

    folder: Path
    printed: dict[str, object]
    said: str

    def flows(self) -> FlowBatch:
        """Of its capture, labelled by its truth."""
        flows = FlowBatch.concatenate(list(PcapSource(self.folder / "sample.pcap.gz").batches()))
        truth, timing = read_truth(self.folder / "truth.json"), read_timing(self.folder / "timing.json")
        return label_flows(flows, truth, timing)


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Finished]]:
    """The same scenario and seed at the same time as root over wires and as nobody over a mobile uplink."""
    # Not pytest's own folder, which nobody else may enter.
    scratch = Path(tempfile.mkdtemp(prefix="tw-e2e-"))
    scratch.chmod(0o755)
    started = {}
    for user, condition in (("root", "wired"), ("nobody", "lte")):
        folder = scratch / user
        folder.mkdir()
        options = [*RUN, "--condition", condition, "--duration-s", str(DURATION_S), "--out", str(folder)]
        if user == "nobody":
            os.chown(folder, NOBODY, NOBODY)
            started[user] = start_as_nobody(*options)
        else:
            started[user] = start([*options])
    finished = {}
    for user, process in started.items():
        printed, said = process.communicate(timeout=90)
        assert process.returncode == 0, said
        finished[user] = Finished(scratch / user, json.loads(printed), said)
    yield finished
    shutil.rmtree(scratch)


def start(options: list[str]) -> subprocess.Popen[str]:
    """Start Python with ``options``."""
    return subprocess.Popen([sys.executable, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(params=["root", "nobody"])
def run(request: pytest.FixtureRequest, runs: dict[str, Finished]) -> Finished:
    """Each of the two."""
    return runs[request.param]


def test_the_manifest_describes_what_lies_beside_it(run: Finished) -> None:
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert run.printed["manifest"] == manifest
    assert (manifest["world"], manifest["seed"], manifest["exclude_from_training"]) == ("real", 5, True)
    assert (manifest["failures"], manifest["dropped_packets"]) == ([], 0)
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"manifest.json", "conn.log.gz", "sample.pcap.gz", "timing.json", "truth.json"}
    for name, described in manifest["files"].items():
        content = (run.folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (described["size_bytes"], described["sha256"])


def test_every_attack_is_in_the_metered_capture_under_its_label(run: Finished) -> None:
    labels = run.flows().labels
    assert labels is not None
    counts = np.bincount(labels.attack_class, minlength=len(CLASSES))
    found = {attack_class.value: int(count) for attack_class, count in zip(CLASSES, counts, strict=True) if count}
    assert found.keys() == {"benign", "scan", "brute_force", "download", "c2", "dos"}
    assert found["scan"] > 20
    assert found["dos"] > 100
    assert found["benign"] > 40
    details = {detail.decode() for detail in labels.detail.tolist()}
    assert {"benign", "benign:dns_outage", "benign:power_cut"} <= details


def test_the_labelled_log_says_the_same(run: Finished) -> None:
    lines = gzip.decompress((run.folder / "conn.log.gz").read_bytes()).decode().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    malicious = run.flows().labels
    assert malicious is not None
    assert sum(row[-2] == "Malicious" for row in rows) == int((malicious.malicious == 1).sum())


def test_what_happens_is_told_while_it_happens(run: Finished) -> None:
    for part in ("9 devices live for 30 s", "television: scan_vertical (attack, scan;", "resolver: works again"):
        assert part in run.said


def test_equal_seeds_give_equal_truth(runs: dict[str, Finished]) -> None:
    one, other = ((runs[user].folder / "truth.json").read_bytes() for user in ("root", "nobody"))
    assert one == other
    assert json.loads(one)["seed"] == 5


def test_conditions_show_in_the_round_trips_to_the_internet(runs: dict[str, Finished]) -> None:
    assert round_trip_s(runs["root"]) < 0.010
    assert 0.060 < round_trip_s(runs["nobody"]) < 0.200


def round_trip_s(run: Finished) -> float:
    """Median time from a SYN to its answer from port 443, which only the internet has."""
    sent_at_s: dict[tuple[int, int], float] = {}
    spans_s = []
    for packets in PcapSource(run.folder / "sample.pcap.gz").packets():
        for is_answer, row in syns_of(packets):
            if not is_answer:
                sent_at_s[int(packets.src_port[row]), int(packets.tcp_seq[row])] = float(packets.at_s[row])
                continue
            key = int(packets.dst_port[row]), int(packets.tcp_ack[row]) - 1
            if key in sent_at_s:
                spans_s.append(float(packets.at_s[row]) - sent_at_s[key])
    return float(np.median(spans_s))


def syns_of(packets: PacketBatch) -> Iterator[tuple[bool, int]]:
    """Rows of handshakes with port 443: whether it is the answer."""
    marks = packets.tcp_flags & (TCP_SYN | TCP_ACK)
    for row in np.flatnonzero((marks == TCP_SYN) & (packets.dst_port == 443)).tolist():
        yield False, row
    for row in np.flatnonzero((marks == TCP_SYN | TCP_ACK) & (packets.src_port == 443)).tolist():
        yield True, row


def test_what_a_killed_run_leaves_behind_is_removed(tmp_path: Path) -> None:
    process = start([*RUN, "--out", str(tmp_path)])
    assert process.stderr is not None
    assert "devices live" in process.stderr.readline()
    time.sleep(1.0)
    own = {path.name for path in NAMESPACES.glob(f"tw-{process.pid:x}.*")}
    assert len(own) >= 11
    process.send_signal(signal.SIGKILL)
    process.communicate()
    cleaned = subprocess.run(
        [sys.executable, "-m", "thingwarden", "lab", "clean", "--json"], capture_output=True, text=True, check=True
    )
    assert own <= set(json.loads(cleaned.stdout)["removed"])
    assert not own & {path.name for path in NAMESPACES.glob("tw-*")}
    assert not list(tmp_path.iterdir())
    assert not processes_under(process.pid)


def processes_under(pid: int) -> list[str]:
    """Command lines that name the namespaces of the lab of process ``pid``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"tw-{pid:x}." in line:
            found.append(line)
    return found
