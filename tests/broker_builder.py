"""A real Mosquitto with dynamic security on loopback, for tests.

In: a folder. Out: its address, an administrator, and clients with logins of their own.
Must never: listen beyond loopback, or outlive the test.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from thingwarden.enforce.broker import BrokerAddress, BrokerConsole

LOGINS: Final = ("cam", "lamp", "hub")
_PASSWORD: Final = "secret"


@contextmanager
def running_broker(folder: Path, host: str = "127.0.0.1") -> Iterator[BrokerAddress]:
    """The broker with a login for each of ``LOGINS``, which may do everything."""
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None or shutil.which("mosquitto") is None:
        pytest.skip("Mosquitto with dynamic security is not installed")
    rules, settings = folder / "rules.json", folder / "mosquitto.conf"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", str(rules), "admin", _PASSWORD], check=True, timeout=20)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    settings.write_text(
        f"listener {port} {host}\nallow_anonymous false\nplugin {plugin}\nplugin_opt_config_file {rules}\n"
        "persistence false\nuser root\nmax_queued_messages 100000\n"
    )
    credentials = folder / "credentials"
    credentials.write_text(f"admin\n{_PASSWORD}\n")
    credentials.chmod(0o600)
    address = BrokerAddress(host=host, port=port, credentials=credentials)
    with subprocess.Popen(["mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL) as broker:
        try:
            _wait(host, port)
            _add_logins(address)
            yield address
        finally:
            broker.kill()


@contextmanager
def connected(address: BrokerAddress, login: str) -> Iterator[mqtt.Client]:
    """A client of that login, whose loop runs."""
    opened = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    opened.username_pw_set(login, _PASSWORD)
    opened.max_inflight_messages_set(1000)
    opened.connect(address.host, address.port)
    opened.loop_start()
    try:
        yield opened
    finally:
        opened.disconnect()
        opened.loop_stop()


def told(address: BrokerAddress, command: dict[str, Any]) -> dict[str, Any]:
    """What the broker answers to one command."""
    console = BrokerConsole(address)
    try:
        (answer,) = console.command([command])
    finally:
        console.close()
    return json.loads(json.dumps(answer))


def _add_logins(address: BrokerAddress) -> None:
    console = BrokerConsole(address)
    allowed = ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")
    acls = [{"acltype": kind, "topic": "#", "allow": True, "priority": 1} for kind in allowed]
    console.command([{"command": "createRole", "rolename": "all", "acls": acls}])
    for login in LOGINS:
        roles = [{"rolename": "all", "priority": 1}]
        console.command([{"command": "createClient", "username": login, "password": _PASSWORD, "roles": roles}])
    console.close()


def _wait(host: str, port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("mosquitto does not listen")
