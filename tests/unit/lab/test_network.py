"""The lab's walls: nothing outside its own prefixes is ever named, and its network is built from such names alone."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab import network
from thingwarden.lab.network import (
    Host,
    Lab,
    clean,
    require_arguments_inside,
    require_inside,
    require_namespace,
    require_tools,
)

CAMERA = Host(name="camera", address=ipaddress.IPv4Address("10.77.0.21"), mac="02:77:00:00:00:21")
SERVER = ipaddress.IPv4Address("203.0.113.10")


@pytest.mark.parametrize("target", ["10.77.0.1", "10.77.0.0/26", "203.0.113.80", "198.51.100.66", "224.0.0.251"])
def test_lab_prefixes_are_allowed(target: str) -> None:
    require_inside(target)


@pytest.mark.parametrize(
    "target",
    ["8.8.8.8", "10.77.1.1", "10.77.0.0/23", "0.0.0.0/0", "127.0.0.1", "192.168.1.1", "::1", "example.com", ""],
)
def test_anything_else_is_refused(target: str) -> None:
    with pytest.raises(RequestError, match="lab target"):
        require_inside(target)


@pytest.mark.parametrize("argv", [["nmap", "8.8.8.8"], ["x", "--to=1.1.1.1"], ["x", "10.77.0.1,9.9.9.9"], ["x", "::1"]])
def test_an_argument_outside_is_found_wherever_it_hides(argv: list[str]) -> None:
    with pytest.raises(RequestError):
        require_arguments_inside(argv)


def test_numbers_and_words_are_not_taken_for_addresses() -> None:
    require_arguments_inside(["hping3", "-c", "3000", "-i", "u2000", "203.0.113.80", "--top-ports", "100"])


def test_a_host_outside_the_lan_is_refused() -> None:
    with pytest.raises(RequestError):
        Lab([Host(name="camera", address=ipaddress.IPv4Address("192.168.0.5"), mac=CAMERA.mac)], [SERVER])
    with pytest.raises(RequestError):
        Lab([CAMERA], [ipaddress.IPv4Address("8.8.8.8")])


def test_every_command_names_a_namespace_of_this_lab() -> None:
    lab = Lab([CAMERA], [SERVER])
    prefix = f"tw-{os.getpid():x}-"
    for argv in lab.setup_commands():
        assert any(argument.startswith(prefix) for argument in argv), argv


def test_a_program_outside_a_namespace_refuses_to_start() -> None:
    with pytest.raises(RequestError, match="outside"):
        require_namespace()


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "TOOLS", {"no-such-program": "some-package"})
    with pytest.raises(ConfigError, match="no-such-program") as caught:
        require_tools()
    assert caught.value.hint == "apt-get install some-package"


@pytest.mark.root
class TestAsRoot:
    def test_hosts_reach_each_other_and_the_servers_but_nothing_else(self) -> None:
        other = Host(name="plug", address=ipaddress.IPv4Address("10.77.0.31"), mac="02:77:00:00:00:31")
        with Lab([CAMERA, other], [SERVER]) as lab:
            routes = lab.run("camera", ["ip", "route"])
            assert "default via 10.77.0.1" in routes
            probe = "import socket, sys; print(socket.socket().connect_ex((sys.argv[1], 9)))"
            for address in (str(other.address), str(SERVER)):
                # A refusal is an answer: the host is there.
                assert lab.run("camera", [sys.executable, "-c", probe, address]).strip() == "111"
            assert "eth0" not in lab.run("gateway", ["ip", "-o", "link"])

    def test_everything_is_gone_after_an_exception(self) -> None:
        lab = Lab([CAMERA], [SERVER])
        with pytest.raises(KeyError), lab:
            process = lab.spawn("camera", ["sleep", "60"])
            raise KeyError("something broke")
        assert process.poll() is not None
        assert not (network._NAMESPACES / lab.namespace("camera")).exists()

    def test_clean_removes_what_a_killed_lab_left(self) -> None:
        program = (
            "import ipaddress, sys, time\n"
            "from thingwarden.lab.network import Host, Lab\n"
            "host = Host(name='camera', address=ipaddress.IPv4Address('10.77.0.21'), mac='02:77:00:00:00:21')\n"
            "with Lab([host], []) as lab:\n"
            "    print(lab.spawn('camera', ['sleep', '300']).pid, flush=True)\n"
            "    time.sleep(60)\n"
        )
        killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert killed.stdout is not None
        sleeper = Path("/proc") / killed.stdout.readline().strip()
        killed.kill()
        killed.communicate()
        assert sleeper.exists()
        assert f"tw-{killed.pid:x}-camera" in clean()
        assert not list(network._NAMESPACES.glob(f"tw-{killed.pid:x}-*"))
        assert not (sleeper / "exe").exists()

    def test_clean_spares_labs_that_live(self) -> None:
        with Lab([CAMERA], [SERVER]) as lab:
            assert lab.namespace("camera") not in clean()
            assert (network._NAMESPACES / lab.namespace("camera")).exists()
