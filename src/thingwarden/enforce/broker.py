"""Talking to Mosquitto's dynamic security as its administrator.

In: commands. Out: the broker's answers.
Must never: wait without end, send a password over an open network, use credentials that others could read.
Source: mosquitto.org/documentation/dynamic-security.
"""

from __future__ import annotations

import ipaddress
import json
import os
import queue
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.errors import ConfigError, EnforcementError

TOPIC: Final = "$CONTROL/dynamic-security/v1"
ANSWER_WITHIN_S: Final = 2.0
MAX_CREDENTIALS_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker is and who may administer it.

    Attributes:
        host, port: of its listener.
        credentials: file of name and password, a line each, that others cannot read.
        certificates: file of authorities for TLS; None for none, allowed on this machine alone.
    """

    host: str
    port: int
    credentials: Path
    certificates: Path | None = None


class BrokerConsole:
    """One connection, opened when it is first needed and again when it was lost.

    Args:
        address: of the broker.

    Raises:
        ConfigError: the extra ``mqtt`` is missing, or the address would show the password.
    """

    def __init__(self, address: BrokerAddress) -> None:
        if address.certificates is None and not _is_this_machine(address.host):
            raise ConfigError(f"broker {address.host}", "without TLS its password would be seen", "set certificates")
        try:
            from paho.mqtt import client, enums
        except ImportError as error:
            raise ConfigError("the broker's client", "it is missing", "pip install 'thingwarden[mqtt]'") from error
        self._mqtt, self._version = client, enums.CallbackAPIVersion.VERSION2
        self._address = address
        self._client: Any = None
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Host and port."""
        return f"{self._address.host}:{self._address.port}"

    def command(self, commands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Have the broker carry out commands in order; one answer each, with ``error`` where it refused.

        Raises:
            EnforcementError: it cannot be reached, refuses us, or does not answer in time.
            ConfigError: the credentials are not to be trusted.
        """
        token = os.urandom(8).hex()
        body = json.dumps({"commands": [{**item, "correlationData": token} for item in commands]})
        with self._lock:
            if self._client is None or not self._client.is_connected():
                self._open()
            self._client.publish(TOPIC, body, qos=1)
            answers: list[dict[str, Any]] = []
            while len(answers) < len(commands):
                try:
                    answer = self._answers.get(timeout=ANSWER_WITHIN_S)
                except queue.Empty as error:
                    self.close()
                    raise EnforcementError(
                        f"broker {self.name}", "it does not answer", "is the plugin loaded?"
                    ) from error
                if answer.get("correlationData") == token:
                    answers.append(answer)
        return answers

    def close(self) -> None:
        """Leave; the next command connects again."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
        self._client = None

    def _open(self) -> None:
        self.close()
        username, password = read_credentials(self._address.credentials)
        opened = self._mqtt.Client(self._version, protocol=self._mqtt.MQTTv5)
        opened.username_pw_set(username, password)
        if self._address.certificates is not None:
            opened.tls_set(ca_certs=str(self._address.certificates))
        refusal: list[str] = []
        is_ready = threading.Event()

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refusal.append(str(reason))
                is_ready.set()
            else:
                opened.subscribe(f"{TOPIC}/response", qos=1)

        opened.on_connect = on_connect
        opened.on_subscribe = lambda *_: is_ready.set()
        opened.on_message = lambda _client, _data, message: self._take(message.payload)
        try:
            opened.connect(self._address.host, self._address.port, keepalive=30)
        except OSError as error:
            raise EnforcementError(f"broker {self.name}", str(error), "is it running?") from error
        opened.loop_start()
        if not is_ready.wait(ANSWER_WITHIN_S) or refusal:
            opened.disconnect()
            opened.loop_stop()
            why = refusal[0] if refusal else "it does not answer"
            raise EnforcementError(f"broker {self.name}", f"it refused us: {why}", "see enforce.mqtt_credentials")
        self._client = opened

    def _take(self, payload: bytes | bytearray) -> None:
        try:
            data = json.loads(payload)
        except ValueError:
            return
        responses = data.get("responses") if isinstance(data, dict) else None
        for response in responses if isinstance(responses, list) else ():
            if isinstance(response, dict):
                self._answers.put(response)


def read_credentials(path: Path) -> tuple[str, str]:
    """Name and password.

    Raises:
        ConfigError: missing, open to others, or not two lines.
    """
    try:
        status = path.stat()
        text = path.read_bytes()[:MAX_CREDENTIALS_BYTES].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"credentials {path}", str(error), "name and password, a line each") from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise ConfigError(f"credentials {path}", "others may read or change them", f"chmod 600 {path}")
    lines = text.splitlines()
    if len(lines) != 2 or not all(lines):
        raise ConfigError(f"credentials {path}", "expected two lines", "name and password, a line each")
    return lines[0], lines[1]


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
