"""Conditions in force: a real ping and a real TCP connection feel what was asked for."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab_host_builder import lan_host
from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.condition import Condition, Link, find_condition
from thingwarden.lab.real.link import AppliedCondition, Means, apply_condition, has_netem, netem_arguments
from thingwarden.lab.real.network import Lab

HOSTS = (lan_host("camera", 21), lan_host("plug", 31))
SLOW = Condition(
    name="slow",
    uplink=Link(delay_ms=20.0, jitter_ms=4.0, loss_ratio=0.05, rate_mbps=50.0),
    wireless=Link(delay_ms=5.0, jitter_ms=2.0, rate_mbps=20.0),
)
SHUFFLED = Condition(name="shuffled", uplink=Link(delay_ms=10.0, reorder_ratio=0.2))
INTERNET, PLUG = "203.0.113.10", "10.77.0.31"
SENT_BYTES = 200_000

SEND = f"""
import random, socket
with socket.create_connection(({INTERNET!r}, 8080), 5) as connection:
    connection.sendall(random.Random(1).randbytes({SENT_BYTES}))
"""
RECEIVE = """
import hashlib, socket
with socket.create_server(("", 8080)) as server:
    print("up", flush=True)
    connection, _ = server.accept()
    digest = hashlib.sha256()
    while data := connection.recv(65536):
        digest.update(data)
    print(digest.hexdigest(), flush=True)
"""


def test_netem_is_told_all_that_a_link_does() -> None:
    assert netem_arguments(find_condition("weak-wifi").wireless) == [
        "netem", "limit", "1000", "delay", "6.0ms", "8.0ms", "loss", "3.0%", "reorder", "0.5%", "rate", "5.0mbit",
    ]  # fmt: skip
    assert netem_arguments(Link(delay_ms=5.0))[-2:] == ["rate", "10000.0mbit"]


def _kernel_means() -> list[Means]:
    """What can carry a condition here, asked in a namespace of the moment; without root nobody uses the answer."""
    probe = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    try:
        subprocess.run(probe, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ["relay"]
    return ["relay", "netem"]


@pytest.fixture(params=_kernel_means())
def slow(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, AppliedCondition]]:
    with Lab(HOSTS) as lab:
        yield lab, apply_condition(lab, SLOW, seed=1, means=request.param)


def _ping(lab: Lab, address: str, *, count: int, gap_s: float = 0.01) -> tuple[float, int]:
    """Mean round trip in milliseconds, and how many were answered."""
    said = lab.run("camera", ["ping", "-q", "-c", str(count), "-i", str(gap_s), "-W", "1", address])
    answered = re.search(r"(\d+) received", said)
    mean_ms = re.search(r"= [\d.]+/([\d.]+)/", said)
    assert answered
    assert mean_ms
    return float(mean_ms[1]), int(answered[1])


@pytest.mark.root
def test_round_trips_and_losses_are_about_what_was_asked(slow: tuple[Lab, AppliedCondition]) -> None:
    lab, applied = slow
    mean_ms, answered_count = _ping(lab, INTERNET, count=300)
    assert 45.0 < mean_ms < 75.0
    assert 230 < answered_count < 295
    mean_ms, answered_count = _ping(lab, PLUG, count=50)
    assert 16.0 < mean_ms < 40.0
    assert answered_count == 50
    counts = applied.finish()
    if applied.means == "relay":
        assert sum(counts[f"internet {way}"]["lost"] for way in ("in", "out")) > 5
        assert sum(counts[f"{name} in"]["lost"] for name in ("camera", "plug")) == 0
        assert counts["all"]["missed"] == 0


@pytest.mark.root
def test_tcp_passes_whole(slow: tuple[Lab, AppliedCondition]) -> None:
    lab, _ = slow
    log = lab.scratch / "server.log"
    server = lab.spawn(lab.INTERNET, [sys.executable, "-c", RECEIVE], log=log)
    while server.poll() is None and "up" not in log.read_text():
        pass
    lab.run("camera", [sys.executable, "-c", SEND])
    server.wait(10.0)
    assert log.read_text().split()[-1] == hashlib.sha256(random.Random(1).randbytes(SENT_BYTES)).hexdigest()


@pytest.mark.root
def test_packets_overtake_where_it_is_asked_for() -> None:
    with Lab(HOSTS[:1]) as lab:
        apply_condition(lab, SHUFFLED, seed=1, means="relay")
        said = lab.run("camera", ["ping", "-c", "100", "-i", "0.002", INTERNET])
        numbers = [int(number) for number in re.findall(r"icmp_seq=(\d+)", said)]
        assert len(set(numbers)) == 100
        assert numbers != sorted(numbers)


@pytest.mark.root
def test_a_plain_condition_changes_nothing() -> None:
    with Lab(HOSTS[:1]) as lab:
        applied = apply_condition(lab, find_condition("wired"))
        assert applied.means == "none"
        assert applied.finish() == {}
        assert _ping(lab, INTERNET, count=5)[0] < 5.0


@pytest.mark.root
def test_the_kernels_own_means_are_preferred() -> None:
    with Lab(HOSTS[:1]) as lab:
        assert has_netem(lab) == ("netem" in _kernel_means())
        assert apply_condition(lab, SHUFFLED).means == _kernel_means()[-1]


@pytest.mark.root
def test_a_lab_takes_one_condition() -> None:
    with Lab(HOSTS[:1]) as lab:
        apply_condition(lab, SHUFFLED, means="relay")
        with pytest.raises(RequestError, match="already"):
            apply_condition(lab, SHUFFLED, means="relay")


@pytest.mark.root
def test_an_emulator_that_died_is_told() -> None:
    with Lab(HOSTS[:1]) as lab:
        applied = apply_condition(lab, SHUFFLED, means="relay")
        for pid in lab.run(lab.GATEWAY, ["ip", "netns", "pids", lab.namespace("air")]).split():
            lab.run(lab.GATEWAY, ["sh", "-c", f"kill -9 {pid}"])
        with pytest.raises(ConfigError, match="link emulator"):
            applied.finish()
