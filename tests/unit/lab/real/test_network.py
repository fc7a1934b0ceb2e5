"""The lab's network: who reaches whom and from which address, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_host_builder import held_lab, lan_host
from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.real.leftover import NAMESPACES
from thingwarden.lab.real.network import Lab, require_namespace, require_tools

HOSTS = (lan_host("camera", 21), lan_host("plug", 31), lan_host("late", 41, joins=True))
PATIENCE_S = 5.0

SEEN_FROM = """
import socket, sys
with socket.create_server(("", 8080)) as server:
    print("up", flush=True)
    while True:
        connection, peer = server.accept()
        connection.sendall(peer[0].encode())
        connection.close()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), 2, (sys.argv[2], 0)) as connection:
    print(connection.recv(64).decode())
"""

WAIT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 80), 1.5)
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("name", ["", "Camera", "gateway", "internet", "air", "uplink", "a b", "-a", "x" * 40])
def test_a_name_that_cannot_be_a_hosts_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="name of its own"):
        Lab([lan_host(name, 21)])


def test_two_hosts_of_one_name_are_refused() -> None:
    with pytest.raises(RequestError, match="name of its own"):
        Lab([lan_host("camera", 21), lan_host("camera", 22)])


def test_a_program_outside_a_namespace_refuses_to_start() -> None:
    with pytest.raises(RequestError, match="outside"):
        require_namespace()


def test_missing_programs_are_named_with_their_packages() -> None:
    with pytest.raises(ConfigError, match="no-such-program") as caught:
        require_tools({"sh": "dash", "no-such-program": "some-package"})
    assert caught.value.hint == "apt-get install some-package"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(HOSTS) as entered:
        yield entered


def _ping(lab: Lab, name: str, address: str, *, patience_s: int = 3) -> bool:
    """Whether there is an answer; the kernel repeats a question for a neighbour each second."""
    try:
        lab.run(name, ["ping", "-c", "1", "-W", str(patience_s), address])
    except ConfigError:
        return False
    return True


def _serve(lab: Lab, name: str) -> None:
    log = lab.scratch / f"{name}.log"
    server = lab.spawn(name, [sys.executable, "-c", SEEN_FROM], log=log)
    deadline_s = time.monotonic() + PATIENCE_S
    while "up" not in log.read_text() and server.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.02)


@pytest.mark.root
class TestReach:
    def test_hosts_reach_each_other_and_the_internet_in_both_families(self, lab: Lab) -> None:
        weather = SERVICES["weather.example"]
        for address in ("10.77.0.31", "2001:db8:77::1f", "10.77.0.1", "2001:db8:77::1", weather.address):
            assert _ping(lab, "camera", address), address
        assert _ping(lab, "camera", weather.address6)

    def test_nobody_answers_for_the_absent(self, lab: Lab) -> None:
        for address in (SERVICES["gone.example"].address, "198.18.0.1", "203.0.113.250"):
            assert not _ping(lab, "camera", address, patience_s=1), address

    def test_nobody_says_that_a_host_is_absent(self, lab: Lab) -> None:
        gone = SERVICES["gone.example"]
        for address in (gone.address, gone.address6):
            assert lab.run("camera", [sys.executable, "-c", WAIT, address]).strip() == "TimeoutError", address

    def test_the_internet_sees_the_gateway_and_a_device_sees_the_stranger(self, lab: Lab) -> None:
        _serve(lab, lab.INTERNET)
        _serve(lab, "plug")
        outward = lab.run("camera", [sys.executable, "-c", ASK, "203.0.113.10", "10.77.0.21"]).strip()
        inward = lab.run(lab.INTERNET, [sys.executable, "-c", ASK, "10.77.0.31", "198.51.100.90"]).strip()
        assert outward == "192.0.2.2"
        assert inward == "198.51.100.90"

    def test_no_interface_leads_out(self, lab: Lab) -> None:
        links = [line.split("@")[0].split()[1] for line in lab.run("camera", ["ip", "-o", "link"]).splitlines()]
        assert {link.rstrip(":") for link in links} <= {"lo", "eth0", "tunl0", "sit0", "ip6tnl0", "gre0"}
        assert "default via 10.77.0.1" in lab.run("camera", ["ip", "route"])

    def test_an_address_outside_is_refused_before_anything_runs(self, lab: Lab) -> None:
        with pytest.raises(RequestError):
            lab.run("camera", ["ping", "8.8.8.8"])
        with pytest.raises(RequestError):
            lab.spawn("camera", ["ping", "8.8.8.8"])

    def test_a_program_inside_knows_where_it_is(self, lab: Lab) -> None:
        code = "from thingwarden.lab.real.network import require_namespace as ask; ask(); print('inside')"
        assert lab.run("camera", [sys.executable, "-c", code]).strip() == "inside"


@pytest.mark.root
class TestPower:
    def test_a_host_joins_with_the_address_that_it_is_given(self, lab: Lab) -> None:
        assert not _ping(lab, "camera", "10.77.0.99", patience_s=1)
        lab.power_on("late", "10.77.0.99")
        assert _ping(lab, "camera", "10.77.0.99")
        assert _ping(lab, "camera", "2001:db8:77::29")

    def test_a_power_cut_kills_all_that_runs_and_power_returns(self, lab: Lab) -> None:
        program = lab.spawn("late", ["sh", "-c", "setsid sleep 300 & sleep 300"])
        lab.power_off("late")
        assert program.wait(PATIENCE_S) == -signal.SIGKILL
        assert not lab.run(lab.GATEWAY, ["ip", "netns", "pids", lab.namespace("late")]).strip()
        assert not _ping(lab, "camera", "10.77.0.41", patience_s=1)
        lab.power_on("late")
        assert _ping(lab, "camera", "10.77.0.41")

    def test_what_is_not_there_has_no_power(self, lab: Lab) -> None:
        with pytest.raises(RequestError, match="not on this lab"):
            lab.power_off("toaster")
        with pytest.raises(RequestError, match="outside"):
            lab.power_on("late", "192.168.1.1")


@pytest.mark.root
class TestEnd:
    def test_everything_is_gone_after_an_exception(self) -> None:
        lab = Lab(HOSTS[:1])
        with pytest.raises(KeyError), lab:
            process = lab.spawn("camera", ["sleep", "60"])
            raise KeyError("something broke")
        assert process.poll() is not None
        assert not list(NAMESPACES.glob(f"{lab.namespace('')}*"))
        assert not lab.scratch.exists()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_everything_is_gone_after_a_signal(self, number: signal.Signals) -> None:
        with held_lab() as (process, pid, namespace, scratch):
            os.kill(process.pid, number)
            for _ in range(5):
                time.sleep(0.01)
                # The impatient send another one while it is tidying up.
                os.kill(process.pid, signal.SIGTERM)
            assert process.wait(PATIENCE_S) != 0
            assert not Path(f"/proc/{pid}/exe").exists()
            assert not (NAMESPACES / namespace).exists()
            assert not Path(scratch).exists()

    def test_two_labs_of_one_process_do_not_meet(self) -> None:
        with Lab(HOSTS[:1]) as one, Lab(HOSTS[:2]) as other:
            one.close()
            assert _ping(other, "camera", "10.77.0.31")

    def test_a_network_that_cannot_be_built_leaves_nothing(self) -> None:
        lab = Lab([replace(HOSTS[0], mac="nonsense")])
        with pytest.raises(ConfigError, match="nonsense"), lab:
            raise AssertionError("it was built")
        assert not list(NAMESPACES.glob(f"{lab.namespace('')}*"))
        assert not lab.scratch.exists()
