"""The lab without root: a whole network and every packaged program in it, as a user with no rights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thingwarden.lab.real.leftover import SCRATCH_PREFIX, clean
from thingwarden.lab.real.rootless import forbidding_knob, is_rootless_needed, reexecute

NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parents[4]
PATIENCE_S = 10.0

PROGRAM = """
import json, sys, time
from pathlib import Path

from lab_host_builder import lan_host
from thingwarden.lab.condition import find_condition
from thingwarden.lab.real.capture import capture_arguments
from thingwarden.lab.real.link import apply_condition
from thingwarden.lab.real.network import Lab
from thingwarden.domain.errors import ConfigError

ASK = '''
import socket
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(2)
name = bytes([7]) + b"weather" + bytes([7]) + b"example" + bytes([0])
asker.sendto(bytes.fromhex("000101000001000000000000") + name + bytes([0, 1, 0, 1]), ("10.77.0.1", 53))
print(socket.inet_ntoa(asker.recv(512)[-4:]))
'''
FTP = '''
import socketserver
class Guarded(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 ready\\\\r\\\\n")
        for line in self.rfile:
            said = {b"USER": b"331 password", b"PASS": b"230 in" if b"secret" in line else b"530 no"}
            self.wfile.write(said.get(line[:4], b"500 what") + b"\\\\r\\\\n")
socketserver.ThreadingTCPServer(("", 21), Guarded).serve_forever()
'''

def main(lab):
    done = {}
    def start(host, argv):
        return lab.spawn(host, argv, log=lab.scratch / f"{Path(argv[0]).name}.log")
    def said(host, argv):
        try:
            return lab.run(host, argv)
        except ConfigError as error:
            return error.why
    capture = start("gateway", capture_arguments("br0", lab.scratch / "lan.pcap", 192))
    start("gateway", ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--pid-file=",
                      "--bind-interfaces", "--interface=br0", "--address=/weather.example/203.0.113.12"])
    (lab.scratch / "broker.conf").write_text("listener 1883\\nallow_anonymous true\\nuser root\\n")
    start("plug", ["mosquitto", "-c", str(lab.scratch / "broker.conf")])
    said("plug", ["ping", "-c", "1", "-W", "1", "10.77.0.1"])
    start("camera", ["arpspoof", "-i", "eth0", "-t", "10.77.0.31", "10.77.0.1"])
    lab.spawn("plug", [sys.executable, "-c", FTP])
    (lab.scratch / "words").write_text("one\\nsecret\\n")
    time.sleep(1.5)
    done["dnsmasq"] = "203.0.113.12" in said("camera", [sys.executable, "-c", ASK])
    ports = said("camera", ["nmap", "-n", "-Pn", "-sS", "-p", "21,1883", "10.77.0.31"])
    done["nmap and mosquitto"] = "1883/tcp open" in ports
    knock = ["hping3", "-S", "-p", "1883", "-c", "2", "-i", "u2000", "10.77.0.31"]
    done["hping3"] = "flags=SA" in said("camera", knock)
    guess = ["hydra", "-I", "-f", "-t", "1", "-l", "admin", "-P", str(lab.scratch / "words"), "ftp://10.77.0.31"]
    done["hydra"] = "password: secret" in said("camera", guess)
    done["arpspoof"] = "02:77:00:00:00:15" in said("plug", ["ip", "neigh", "show", "10.77.0.1"])
    lab.cut("uplink", "refusing")
    done["cut"] = "Unreachable" in said("camera", ["sh", "-c", "ping -c 1 -W 1 203.0.113.10; true"])
    lab.restore("uplink")
    applied = apply_condition(lab, find_condition("home"))
    done[applied.means] = " 0% packet loss" in said("camera", ["ping", "-c", "3", "-i", "0.05", "2001:db8:100::a"])
    lab.power_off("plug")
    lab.power_on("plug")
    lab.stop(capture)
    done["capture"] = (lab.scratch / "lan.pcap").stat().st_size > 2000
    return done

with Lab([lan_host("camera", 21), lan_host("plug", 31)]) as lab:
    if sys.argv[1] == "hold":
        print(lab.scratch, flush=True)
        time.sleep(60)
    print(json.dumps(main(lab)), flush=True)
"""

RUNNER = """
import sys
from thingwarden.lab.real.rootless import is_rootless_needed, reexecute
assert is_rootless_needed()
sys.exit(reexecute(sys.argv[1:]))
"""


def test_a_kernel_that_forbids_it_is_told_by_its_setting(tmp_path: Path) -> None:
    assert forbidding_knob(tmp_path) == ("", "")
    (tmp_path / "kernel").mkdir()
    knob = tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns"
    knob.write_text("1\n")
    why, hint = forbidding_knob(tmp_path)
    assert why == "kernel.apparmor_restrict_unprivileged_userns is 1"
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in hint
    knob.write_text("0\n")
    assert forbidding_knob(tmp_path) == ("", "")


def _interpreter() -> str:
    """One that a user with no rights may start."""
    for path in (sys.executable, "/usr/bin/python3"):
        command = [*_as_nobody(), "sh", "-c", f"exec {path} -c 'import sys; print(*sys.version_info[:2])'"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return path
    pytest.skip("no interpreter of this version that user 65534 may start")


def _as_nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def _start(mode: str) -> subprocess.Popen[str]:
    if subprocess.run([*_as_nobody(), "unshare", "-Ur", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"user namespaces are forbidden here: {forbidding_knob()[0]}")
    python = _interpreter()
    paths = [
        str(REPOSITORY / "src"),
        str(REPOSITORY / "tests"),
        *(path for path in sys.path if "site-packages" in path),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": "/tmp"}
    argv = [*_as_nobody(), python, "-c", RUNNER, python, "-c", PROGRAM, mode]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment, cwd="/")


@pytest.mark.root
def test_root_needs_no_other_user_and_may_still_do_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert not is_rootless_needed()
    assert reexecute(["sh", "-c", "ip netns add tw-inner && ls /run/netns; id -u; exit 7"]) == 7
    assert capfd.readouterr().out.split() == ["tw-inner", "0"]
    assert not Path("/run/netns/tw-inner").exists()


@pytest.mark.root
def test_every_program_of_the_lab_runs_without_root() -> None:
    with _start("run") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    done = json.loads(said.splitlines()[-1])
    assert [name for name, worked in done.items() if not worked] == []
    assert len(done) == 8


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_tidily(number: signal.Signals) -> None:
    with _start("hold") as process:
        assert process.stdout is not None
        scratch = Path(process.stdout.readline().strip())
        assert scratch.name.startswith(SCRATCH_PREFIX)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) != 0
    assert not scratch.exists()


@pytest.mark.root
def test_a_kill_takes_all_with_it_but_the_folder_which_clean_removes() -> None:
    with _start("hold") as process:
        assert process.stdout is not None
        scratch = Path(process.stdout.readline().strip())
        assert str(scratch) not in clean()
        process.kill()
        process.wait()
    deadline_s = time.monotonic() + PATIENCE_S
    removed = clean()
    while scratch.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
        removed += clean()
    assert str(scratch) in removed
