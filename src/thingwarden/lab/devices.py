"""How each kind of device behaves: habits with jitter, run as one process per device in its namespace.

In: a JSON object with name, kind, mac, pace and seed as the only argument. Out: traffic, until killed.
Must never: run outside a namespace that ``Lab`` made, or share a random stream between devices.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.errors import ConfigError
from thingwarden.lab import servers, wire
from thingwarden.lab.network import GATEWAY, LAN, require_inside, require_namespace

MDNS_GROUP: Final = "224.0.0.251"
SSDP_GROUP: Final = "239.255.255.250"
MQTT_PORT: Final = 1883
_RETRY_S: Final = (2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a device's process knows about itself and its surroundings."""

    name: str
    kind: str
    mac: str
    seed: str
    pace: float
    authority: Path
    key: Path | None
    peers: dict[str, str]
    control_port: int
    is_booting: bool

    @classmethod
    def parse(cls, text: str) -> Identity:
        """From the JSON argument that the scenario wrote."""
        raw: dict[str, Any] = json.loads(text)
        for address in raw["peers"].values():
            require_inside(address)
        key = raw.pop("key")
        return cls(authority=Path(raw.pop("authority")), key=Path(key) if key else None, **raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """Something that a device does again and again.

    Attributes:
        act: does it once; an OSError means that it failed and is tried again soon.
        every_s: shortest and longest pause between two.
    """

    act: Callable[[Identity, random.Random], None]
    every_s: tuple[float, float]


def run_habits(me: Identity, habits: list[Habit]) -> None:
    """Start each habit in a thread of its own with its own random stream."""
    for number, habit in enumerate(habits):
        rng = random.Random(f"{me.seed}:{me.name}:{number}:{me.is_booting}")
        threading.Thread(target=_live, args=(me, habit, rng), daemon=True).start()


def _live(me: Identity, habit: Habit, rng: random.Random) -> None:
    low_s, high_s = habit.every_s
    time.sleep(rng.uniform(0.1, 1.0) if me.is_booting else rng.uniform(0.2, min(high_s, 20.0)) / me.pace)
    while True:
        try:
            habit.act(me, rng)
        except OSError:
            time.sleep(rng.uniform(*_RETRY_S))
            continue
        time.sleep(rng.uniform(low_s, high_s) / me.pace)


def sync_clock(me: Identity, rng: random.Random) -> None:
    """NTP, by name."""
    wire.ask_time(rng)


def publish_steadily(me: Identity, rng: random.Random) -> None:
    """Hold one MQTT connection and publish a reading every few seconds."""
    client = _mqtt_client(me, rng)
    try:
        while client.is_connected():
            reading = json.dumps({"value": round(rng.uniform(18, 24), 2), "battery": rng.randint(40, 100)})
            client.publish(f"home/{me.name}/state", reading, qos=rng.choice((0, 1)))
            time.sleep(rng.uniform(3.0, 8.0) / me.pace)
    finally:
        client.loop_stop()
    raise ConnectionError("the broker went away")


def publish_once(me: Identity, rng: random.Random) -> None:
    """Connect, publish one event, disconnect: a battery sensor that sleeps in between."""
    client = _mqtt_client(me, rng)
    client.publish(f"home/{me.name}/event", rng.choice(("open", "closed")), qos=1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def watch_topics(me: Identity, rng: random.Random) -> None:
    """Hold a subscription to everything in the home."""
    client = _mqtt_client(me, rng)
    client.subscribe("home/#")
    try:
        while client.is_connected():
            time.sleep(1.0)
    finally:
        client.loop_stop()
    raise ConnectionError("the broker went away")


def _mqtt_client(me: Identity, rng: random.Random) -> Any:
    from paho.mqtt import client as mqtt  # only the devices that speak MQTT need the extra
    from paho.mqtt.enums import CallbackAPIVersion

    broker = wire.resolve("hub.lan", rng)
    require_inside(broker)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{me.name}-{rng.randrange(1000)}")
    client.connect(broker, MQTT_PORT, keepalive=30)
    client.loop_start()
    deadline_s = time.monotonic() + 5
    while not client.is_connected():
        if time.monotonic() > deadline_s:
            client.loop_stop()
            raise TimeoutError("no CONNACK")
        time.sleep(0.02)
    return client


def upload_clip(me: Identity, rng: random.Random) -> None:
    """A camera's motion clip to the video cloud."""
    wire.send_video(wire.resolve("video.example", rng), rng, rng.uniform(6.0, 16.0) / me.pace)


def report_to_vendor(me: Identity, rng: random.Random) -> None:
    """A plain HTTP heartbeat to the maker's cloud."""
    body = json.dumps({"id": me.name, "uptime": rng.randrange(10**6)}).encode()
    wire.http(wire.resolve("vendor.example", rng), "vendor.example", "/heartbeat", body=body)


def check_firmware(me: Identity, rng: random.Random) -> None:
    """Over TLS: is there anything newer."""
    wire.https(wire.resolve("vendor.example", rng), "vendor.example", "/firmware", me.authority)


def read_weather(me: Identity, rng: random.Random) -> None:
    """What the thermostat plans by."""
    wire.http(wire.resolve("weather.example", rng), "weather.example", "/weather")


def poll_cloud(me: Identity, rng: random.Random) -> None:
    """A smart plug asking its cloud, over TLS, whether to switch."""
    state = rng.randbytes(rng.randint(40, 120)).hex().encode()
    wire.https(wire.resolve("plug-cloud.example", rng), "plug-cloud.example", "/poll", me.authority, body=state)


def watch_film(me: Identity, rng: random.Random) -> None:
    """A few segments of adaptive streaming."""
    address = wire.resolve("cdn.example", rng)
    for _ in range(rng.randint(1, 3)):
        wire.https(address, "cdn.example", "/segment", me.authority)
        time.sleep(rng.uniform(0.5, 2.0))


def browse(me: Identity, rng: random.Random) -> None:
    """A person reads some pages."""
    name = rng.choice(("news.example", "shop.example"))
    address = wire.resolve(name, rng)
    for _ in range(rng.randint(1, 4)):
        wire.https(address, name, "/page", me.authority)
        time.sleep(rng.uniform(0.1, 3.0))


def look_at_cameras(me: Identity, rng: random.Random) -> None:
    """A person opens a camera's picture on the phone."""
    cameras = sorted(address for name, address in me.peers.items() if name.startswith("camera"))
    if cameras:
        wire.http(rng.choice(cameras), "camera.lan", "/snapshot")


def announce_services(me: Identity, rng: random.Random) -> None:
    """mDNS and SSDP, as hubs and televisions do."""
    name = f"{me.name}".encode()
    record = b"\x05_http\x04_tcp\x05local\0\0\x0c\x80\x01\0\0\x11\x94"
    pointer = bytes([len(name)]) + name + b"\xc0\x0c"
    header = b"\0\0\x84\0\0\0\0\x01\0\0\0\0"
    wire.announce(MDNS_GROUP, 5353, header + record + len(pointer).to_bytes(2, "big") + pointer)
    time.sleep(rng.uniform(0.05, 0.5))
    notify = f"NOTIFY * HTTP/1.1\r\nHOST: {SSDP_GROUP}:1900\r\nNT: upnp:rootdevice\r\nUSN: uuid:{me.name}\r\n\r\n"
    wire.announce(SSDP_GROUP, 1900, notify.encode())


HABITS: Final[dict[str, list[Habit]]] = {
    "sensor": [Habit(act=publish_steadily, every_s=(2, 4)), Habit(act=sync_clock, every_s=(50, 70))],
    "door": [Habit(act=publish_once, every_s=(12, 35)), Habit(act=sync_clock, every_s=(80, 120))],
    "thermostat": [
        Habit(act=publish_steadily, every_s=(2, 4)),
        Habit(act=read_weather, every_s=(25, 40)),
        Habit(act=sync_clock, every_s=(40, 60)),
    ],
    "camera": [
        Habit(act=upload_clip, every_s=(10, 30)),
        Habit(act=report_to_vendor, every_s=(20, 35)),
        Habit(act=sync_clock, every_s=(50, 70)),
        Habit(act=check_firmware, every_s=(90, 150)),
    ],
    "plug": [Habit(act=poll_cloud, every_s=(9, 16)), Habit(act=sync_clock, every_s=(60, 80))],
    "hub": [
        Habit(act=announce_services, every_s=(20, 30)),
        Habit(act=check_firmware, every_s=(35, 60)),
        Habit(act=sync_clock, every_s=(50, 70)),
    ],
    "phone": [
        Habit(act=watch_topics, every_s=(5, 9)),
        Habit(act=browse, every_s=(10, 25)),
        Habit(act=look_at_cameras, every_s=(15, 40)),
    ],
    "tv": [
        Habit(act=watch_film, every_s=(8, 20)),
        Habit(act=announce_services, every_s=(25, 40)),
        Habit(act=sync_clock, every_s=(60, 90)),
    ],
}
"""By kind of device; the pauses are those of common home devices, shortened so that minutes show a day's variety."""


def boot(me: Identity) -> None:
    """Get the address by DHCP and put it on eth0, as after a power cut.

    Raises:
        OSError: no server answered.
    """
    lease = wire.request_lease(me.mac, random.Random(f"{me.seed}:{me.name}:boot"))
    for argv in (
        ["ip", "addr", "add", f"{lease.address}/{LAN.prefixlen}", "dev", "eth0"],
        ["ip", "route", "replace", "default", "via", str(GATEWAY)],
    ):
        subprocess.run(argv, check=True, timeout=10)  # noqa: S603


def open_doors(me: Identity) -> None:
    """Start what the device itself serves."""
    if me.kind == "camera":
        servers.serve_tcp(80, servers.answer_http)
        servers.serve_tcp(23, servers.answer_telnet)
    elif me.kind in ("tv", "hub", "plug"):
        servers.serve_tcp(80 if me.kind == "hub" else 9999, servers.answer_http)
    elif me.kind == "internet":
        if me.key is None:
            raise ConfigError("lab internet", "no TLS key given")
        servers.serve_internet(me.authority, me.key, me.control_port)


def main() -> None:
    """Entry point of a device's process."""
    require_namespace()
    me = Identity.parse(sys.argv[1])
    if me.is_booting:
        boot(me)
    open_doors(me)
    run_habits(me, HABITS.get(me.kind, []))
    threading.Event().wait()


if __name__ == "__main__":
    main()
