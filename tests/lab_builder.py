"""A small corpus of simulated networks, made of sketches: hosts that poll, one that is up to something.

In: a folder, a seed. Out: the folder as ``ingest.lab_corpus`` reads it.
Must never: need the lab.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.ingest.lab_corpus import LabDevice, LabManifest, LabNetwork, write_manifest, write_network
from thingwarden.train.sketch import OWNER, sketch

MAC = 0x02_77_00_00_00_00
FIRST_ADDRESS = 0xFFFF << 32 | 0x0A_4D_00_0A  # ::ffff:10.77.0.10
CHORE, ATTACK = b"firmware_update", b"port_scan"
SPACING_S = 3600.0


def network_flows(seed: int, *, devices: int = 3, lives: int = 4, attacked: bool) -> FlowBatch:
    """Labelled flows in time order; host 0 does a chore, and an attack too where ``attacked``."""
    rng = np.random.default_rng(seed)
    batches = []
    for host in range(devices):
        acts = [b""] * lives + ([CHORE] if host == 0 else []) + ([ATTACK] if host == 0 and attacked else [])
        batches += [_live(rng, host, turn, act) for turn, act in enumerate(acts)]
    flows = FlowBatch.concatenate(batches)
    return flows.take(np.argsort(flows.started_at_s, kind="stable"))


def _live(rng: np.random.Generator, host: int, turn: int, act: bytes) -> FlowBatch:
    flows = sketch(rng, malicious=act == ATTACK).flows
    flows = flows.take(np.arange(min(len(flows), 80)))
    assert flows.labels is not None
    labels = Labels(
        malicious=flows.labels.malicious,
        attack_class=flows.labels.attack_class,
        ton_class=flows.labels.ton_class,
        detail=np.full(len(flows), act, dtype="S48"),
    )
    address = np.array([0, FIRST_ADDRESS + host], dtype=np.uint64)
    columns: dict[str, np.ndarray] = {}
    for end in ("orig", "resp"):
        is_owner = (getattr(flows, f"{end}_address") == OWNER).all(axis=1)
        columns[f"{end}_address"] = np.where(is_owner[:, None], address, getattr(flows, f"{end}_address"))
        columns[f"{end}_mac"] = np.where(is_owner, np.uint64(MAC + host), np.uint64(0))
        columns[f"{end}_is_local"] = is_owner.astype(np.int8)
    started_at_s = flows.started_at_s - flows.started_at_s[0] + 1.0e9 + turn * SPACING_S
    return replace(flows, labels=labels, started_at_s=started_at_s, **columns)


def network_entry(number: int, *, devices: int, attacked: bool, purpose: str = "train") -> LabNetwork:
    """What the manifest says of a network, but for what the writer fills in."""
    name = f"net-{number:05d}"
    return LabNetwork(
        name=name,
        file=f"{name}.npz",
        seed=number,
        sha256="0" * 64,
        flows=0,
        device_days=devices * 0.25,
        devices=tuple(
            LabDevice(name=f"d{host}", kind=("plug", "camera")[host % 2], ip=f"10.77.0.{10 + host}",
                      mac=f"02:77:00:00:00:{host:02x}")
            for host in range(devices)
        ),
        acts=(ATTACK.decode(),) if attacked else (),
        chores=(CHORE.decode(),),
        condition="wired",
        purpose="count" if purpose == "count" else "train",
    )  # fmt: skip


def build_lab(folder: Path, *, networks: int = 10, counted: int = 5, devices: int = 3, lives: int = 4) -> Path:
    """Write a corpus: networks with an even number are attacked, those to count in come last."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(networks + counted):
        attacked = number < networks and number % 2 == 0
        entry = network_entry(
            number, devices=devices, attacked=attacked, purpose="train" if number < networks else "count"
        )
        flows = network_flows(1000 + number, devices=devices, lives=lives, attacked=attacked)
        entries.append(write_network(folder, flows, entry))
    recipe_sha256 = hashlib.sha256(b"test").hexdigest()
    write_manifest(folder, LabManifest(recipe_sha256=recipe_sha256, seed=1, networks=tuple(entries)))
    return folder
