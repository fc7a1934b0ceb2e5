"""A real broker: an abusive client is denied its topic at once, the others lose nothing, and the reaper lifts it."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker_builder import connected, running_broker
from enforcer_builder import KEY
from process_builder import build_process_settings, running_enforcer, running_reaper
from thingwarden.domain.device import Device
from thingwarden.domain.response import Access, Act, Decision, ReceiptStatus, Target
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.mosquitto import MosquittoEnforcer
from thingwarden.testing import build_decision

CAMERA = Device(index=1, mac="02:00:00:00:00:0a", address=None)


def deny(lasts_s: float = 60.0, **target: Any) -> Decision:
    now = datetime.now(UTC)
    return build_decision(
        decision_id="00000000000a",
        act=Act.MQTT_DENY,
        target=Target(device=CAMERA, **{"username": "cam", **target}),
        decided_at=now,
        expires_at=now + timedelta(seconds=lasts_s),
    )


class Heard:
    """What a subscriber hears, with the instant."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = {"cam": [], "lamp": []}
        self.last_at_s: dict[str, float] = {}
        self.is_ready = threading.Event()

    def listen(self, client: Any) -> None:
        client.on_message = self._take
        client.on_subscribe = lambda *_: self.is_ready.set()
        client.subscribe("d/#", qos=1)
        assert self.is_ready.wait(5)

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        who = message.topic.split("/")[1]
        self.numbers[who].append(int(message.payload))
        self.last_at_s[who] = time.perf_counter()


def publish(client: Any, who: str, count: int, numbers: range) -> None:
    """At some 1 kHz."""
    for number in numbers[:count]:
        client.publish(f"d/{who}/x", str(number), qos=1)
        time.sleep(0.001)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_abuser_is_denied_within_100_ms_and_the_others_lose_nothing(tmp_path: Path, host: str) -> None:
    heard = Heard()
    with (
        running_broker(tmp_path, host) as address,
        connected(address, "hub") as hub,
        connected(address, "cam") as camera,
        connected(address, "lamp") as lamp,
    ):
        heard.listen(hub)
        count = 1000
        senders = [
            threading.Thread(target=publish, args=(client, who, count, range(count)))
            for client, who in ((camera, "cam"), (lamp, "lamp"))
        ]
        for sender in senders:
            sender.start()
        time.sleep(0.3)
        enforcer = MosquittoEnforcer(address)
        assert enforcer.in_force(datetime.now(UTC)) == ()  # connects, as its process does at the first order
        ordered_at_s = time.perf_counter()
        receipt = enforcer.apply(deny(access=Access.PUBLISH, topic_filter="d/cam/#"), datetime.now(UTC))
        assert receipt.status is ReceiptStatus.APPLIED, receipt.detail
        for sender in senders:
            sender.join()
        time.sleep(0.5)
        enforcer.close()
    assert 0 < len(heard.numbers["cam"]) < count
    assert heard.last_at_s["cam"] - ordered_at_s < 0.1
    assert sorted(set(heard.numbers["lamp"])) == list(range(count))


def hears(hub: Any, client: Any, topic: str) -> bool:
    """Whether a message gets from a client to the hub."""
    got = threading.Event()
    hub.on_message = lambda *_: got.set()
    client.publish(topic, "1", qos=1)
    return got.wait(1.0)


def test_after_kill_9_the_reaper_lifts_it(tmp_path: Path) -> None:
    with running_broker(tmp_path) as address, connected(address, "hub") as hub, connected(address, "cam") as camera:
        Heard().listen(hub)
        options = {
            "host": address.host, "port": address.port, "credentials": str(address.credentials), "certificates": None
        }  # fmt: skip
        settings = build_process_settings(tmp_path, "mosquitto", options)
        with running_reaper(settings.leases):
            with running_enforcer(settings) as process:
                client = SocketEnforcer(settings.socket, KEY, answer_within_s=5.0)
                receipt = client.apply(deny(lasts_s=4.0, access=Access.PUBLISH), datetime.now(UTC))
                assert receipt.status is ReceiptStatus.APPLIED, receipt.detail
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert not hears(hub, camera, "d/cam/1")
            deadline_s = time.monotonic() + 10
            while not hears(hub, camera, "d/cam/2"):
                assert time.monotonic() < deadline_s
