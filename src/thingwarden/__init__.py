"""Thingwarden: intrusion detection and prevention for IoT networks by a small language model of network behaviour."""

__version__ = "0.1.0"
