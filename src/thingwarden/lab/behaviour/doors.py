"""The ports that devices open to their LAN, by kind and role: what others must know to visit them.

In: nothing. Out: ``DOORS``.
Must never: know what is served there.
"""

from __future__ import annotations

from typing import Final

from thingwarden.lab.behaviour.kind import Door

_WEB_PORTS: Final = (8080, 8000, 81, 88, 8081, 5000)
_ADMIN: Final = Door(port=80, others=_WEB_PORTS, about="owner's web page")
_TELNET: Final = Door(port=23, others=(2323, 9527, 24), about="telnet login", open_share=0.55)
_SSH: Final = Door(port=22, others=(2222, 22222), about="SSH", open_share=0.35)

DOORS: Final[dict[str, dict[str, Door]]] = {
    "plug": {
        "control": Door(port=9999, others=(6668, 8081, 55443, 80), about="local control, TCP"),
        "datagram": Door(port=9998, others=(20002, 6667, 38899, 48899), transport="udp", about="local control, UDP"),
    },
    "bulb": {
        "datagram": Door(port=38899, others=(56700, 4003, 55443, 48899), transport="udp", about="local control, UDP"),
        "web": Door(port=80, others=_WEB_PORTS, about="local control, HTTP", open_share=0.6),
    },
    "coap-sensor": {"coap": Door(port=5683, others=(5685, 61616), transport="udp", about="CoAP")},
    "camera": {
        "web": _ADMIN,
        "rtsp": Door(port=554, others=(8554, 10554, 7070), about="RTSP"),
        "telnet": _TELNET,
        "ssh": _SSH,
    },
    "doorbell": {"rtsp": Door(port=554, others=(8554, 6604), about="RTSP", open_share=0.6)},
    "hub": {
        "broker": Door(port=1883, about="MQTT broker (Mosquitto)", is_fixed=True),
        "web": Door(port=8123, others=(80, 8080, 443, 1880), about="owner's web page"),
        "discovery": Door(port=1900, transport="udp", about="SSDP", is_fixed=True),
        "ssh": Door(port=22, others=(2222, 22222), about="SSH", open_share=0.6),
    },
    "thermostat": {"web": Door(port=80, others=_WEB_PORTS, about="local control, HTTP", open_share=0.6)},
    "plc": {
        "modbus": Door(port=502, others=(5020, 1502, 10502), about="Modbus/TCP"),
        "web": Door(port=80, others=_WEB_PORTS, about="diagnosis page", open_share=0.5),
    },
    "historian": {"web": Door(port=8086, others=(8080, 5432, 4840), about="time series, HTTP")},
    "ward-server": {"records": Door(port=2575, others=(6661, 5000, 24105, 3200), about="HL7 over MLLP")},
    "tv": {
        "control": Door(port=8009, others=(8001, 8060, 3000, 7345), about="remote control"),
        "discovery": Door(port=1900, transport="udp", about="SSDP", is_fixed=True),
    },
    "voice-assistant": {"control": Door(port=8009, others=(55443, 10001, 4070), about="casting", open_share=0.7)},
    "printer": {
        "web": Door(port=631, others=(80,), about="IPP"),
        "raw": Door(port=9100, about="raw printing", is_fixed=True, open_share=0.8),
    },
    "vacuum": {
        "datagram": Door(port=54321, others=(6667, 7000), transport="udp", about="local control, UDP"),
        "ssh": Door(port=22, others=(2222,), about="SSH", open_share=0.2),
    },
    "server": {
        "backup": Door(port=445, others=(22, 873, 5005, 2049), about="backup sink"),
        "web": Door(port=5000, others=_WEB_PORTS, about="owner's web page"),
        "ssh": _SSH,
    },
    "invented": {
        "first": Door(port=7000, others=(80, 8080, 4444, 5555, 9000, 23, 2323), about="anything, TCP", open_share=0.5),
        "second": Door(port=7001, others=(443, 8443, 49152, 1883), about="anything, TCP", open_share=0.25),
        "datagram": Door(port=7002, others=(5353, 49153, 161), transport="udp", about="anything, UDP", open_share=0.4),
    },
}
"""By kind of device, then by role."""
