"""Real ARP spoofing in a lab, and the public captures, from bytes to incidents."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path

import pytest

from lab_host_builder import lan_host
from thingwarden.cli.app import main
from thingwarden.detect.link_watch import LinkWatch
from thingwarden.domain.errors import InputError
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.real.capture import READY, capture_arguments
from thingwarden.lab.real.network import Lab

PATIENCE_S = 5.0
SPOOFING_S = 12.5
"""Six false answers, two seconds apart, and a little."""

GATEWAY, SPY = "02:77:00:00:00:01", "02:77:00:00:00:15"


def spoofed_network(folder: Path) -> Path:
    """What a gateway captures while a camera steps between a plug and it, and a hub lives on."""
    path, log = folder / "lan.pcap", folder / "capture.log"
    with Lab([lan_host("camera", 21), lan_host("plug", 31), lan_host("hub", 32)]) as lab:
        capture = lab.spawn(lab.GATEWAY, capture_arguments("br0", path, 192), log=log)
        began_at_s = time.monotonic()
        while READY not in log.read_text() and time.monotonic() < began_at_s + PATIENCE_S:
            time.sleep(0.02)
        for host in ("camera", "plug", "hub"):
            lab.run(host, ["ping", "-c", "1", "10.77.0.1"])
        argv = ["arpspoof", "-i", "eth0", "-t", "10.77.0.31", "-r", "10.77.0.1"]
        spoof = lab.spawn("camera", argv, log=folder / "arpspoof.log")
        time.sleep(SPOOFING_S / 2)
        # The gateway lives on too: it asks for the hub, and says so who it is.
        lab.run(lab.GATEWAY, ["ip", "neigh", "flush", "to", "10.77.0.32"])
        lab.run(lab.GATEWAY, ["ping", "-c", "1", "10.77.0.32"])
        time.sleep(SPOOFING_S / 2)
        lab.stop(spoof, is_sudden=True)
        lab.stop(capture)
    return path


@pytest.mark.root
def test_real_arp_spoofing_is_an_incident_of_the_device_that_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--json", "--no-journal", str(spoofed_network(tmp_path))]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (incident,) = [record for record in records if record["type"] == "incident"]
    assert (incident["device"]["mac"], incident["role"]) == (SPY, "offender")
    assert incident["attack_class"] == "mitm"
    assert f"claims the gateway's address 10.77.0.1 again and again unasked, though {GATEWAY}" in incident["summary"]
    assert {sighting["kind"] for sighting in incident["sightings"]} == {"link_layer"}


@pytest.mark.data
def test_the_public_captures_raise_no_evidence_on_the_link(data_folder: Path) -> None:
    """The one with ARP poisoning holds two false answers, which is too few to tell from a mistake."""
    heard = {}
    for path in sorted(data_folder.rglob("*.pcap*")):
        watch = LinkWatch()
        try:
            deque(PcapSource(path, hear_link=watch.observe).packets(), maxlen=0)
        except InputError:
            continue  # Wi-Fi frames and the like, which the product refuses
        heard[path] = watch
    statement_count = sum(watch.counts.get("statements", 0) for watch in heard.values())
    changed = {path.name: watch.counts for path, watch in heard.items() if "changed" in watch.counts}
    print(f"{len(heard)} captures, {statement_count} statements; changed hands: {changed or 'none'}")  # noqa: T201
    assert statement_count > 10_000
    assert {path.name: watch.findings for path, watch in heard.items() if watch.findings} == {}
