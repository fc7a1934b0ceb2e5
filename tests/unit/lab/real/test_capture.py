"""The capture writer, read back by the product's own reader."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lab_host_builder import lan_host
from thingwarden.domain.errors import RequestError
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.real.capture import READY, capture_arguments, main
from thingwarden.lab.real.network import Lab

PATIENCE_S = 5.0
SENT_COUNT = 3000
SEND = f"""
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("10.77.0.21", 5000))
for number in range({SENT_COUNT}):
    sender.sendto(bytes(1000), ("203.0.113.40", 9))
    if number % 20 == 0:
        time.sleep(0.001)
"""


def test_it_refuses_to_run_outside_a_lab() -> None:
    with pytest.raises(RequestError, match="outside"):
        main()


def test_the_command_line_names_what_is_captured() -> None:
    assert capture_arguments("br0", Path("/tmp/x.pcap"), 192)[-3:] == ["br0", "/tmp/x.pcap", "192"]


@pytest.mark.root
def test_every_packet_is_there_once_cut_to_length_at_its_moment(tmp_path: Path) -> None:
    path, log = tmp_path / "lan.pcap", tmp_path / "capture.log"
    began_at_s = time.time()
    with Lab([lan_host("camera", 21), lan_host("plug", 31)]) as lab:
        capture = lab.spawn(lab.GATEWAY, capture_arguments("br0", path, 192), log=log)
        while READY not in log.read_text() and time.time() < began_at_s + PATIENCE_S:
            time.sleep(0.02)
        lab.run("camera", [sys.executable, "-c", SEND])
        lab.run("camera", ["ping", "-c", "10", "-i", "0.01", "10.77.0.31"])
        lab.stop(capture)
    said = json.loads(log.read_text().splitlines()[-1])
    assert said["dropped_packets"] == 0
    source = PcapSource(path)
    flows = [flow for flow in source.batches() if len(flow)]
    assert source.counts["frames"] == said["packets"]
    assert path.stat().st_size <= 24 + said["packets"] * (16 + 192)
    protocols = np.concatenate([flow.proto for flow in flows])
    packets = np.concatenate([flow.orig_packets for flow in flows])
    started_at_s = np.concatenate([flow.started_at_s for flow in flows])
    assert packets[protocols == 17].tolist() == [SENT_COUNT]
    assert packets[protocols == 1].tolist() == [10]
    assert ((started_at_s > began_at_s) & (started_at_s < time.time())).all()
