"""What there is to learn from: public captures as one registry, and the lab's simulated networks beside them.

In: the data folder that README names, a lab corpus. Out: ``Capture`` and the labelled ``FlowBatch`` of each.
Must never: repair a label silently; what is not to be trusted becomes -1 and stays as context.
Sources: IoT-23 (doi 10.5281/zenodo.4743746), TON_IoT (UNSW Canberra), IoT Sentinel (Miettinen and others, 2017),
IoTEnsemble's home devices (ESORICS), Stratosphere's security-datasets-for-testing.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

import thingwarden.domain.flow
import thingwarden.ingest
from thingwarden.config import PACKAGED_SAMPLE
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import COLUMN_DTYPES, CONN_STATE_CODE, FlowBatch, Labels, words_from_address
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.columns import read_columns, write_columns
from thingwarden.ingest.lab_corpus import LabManifest, LabNetwork, manifest_digest, read_manifest, read_network
from thingwarden.ingest.source import read_flows

Family: TypeAlias = Literal["iot23", "lan-mixed", "home-2020", "sentinel-2016", "ton_iot", "lab"]
Kind: TypeAlias = Literal["attack", "benign", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One recording, or all recordings of one device.

    Attributes:
        name: unique, such as ``34-1`` or ``sentinel/HueBridge``; the fold plan speaks of captures by it.
        family: the collection that it comes from.
        group: the physical kind of device; captures of one group are never on both sides of a fold.
        kind: ``attack`` holds malicious flows, ``benign`` none, ``table`` has no order and no time.
        paths: the files, day files in order of their names; for sentinel one file per set-up session.
    """

    name: str
    family: Family
    group: str
    kind: Kind
    paths: tuple[Path, ...]


_IOT23: Final[dict[str, tuple[str, Kind]]] = {
    "CTU-IoT-Malware-Capture-34-1": ("34-1", "attack"),
    "CTU-IoT-Malware-Capture-42-1": ("42-1", "attack"),
    "CTU-IoT-Malware-Capture-20-1": ("20-1", "attack"),
    "CTU-IoT-Malware-Capture-43-1-partial": ("43-1-partial", "attack"),
    "CTU-Honeypot-Capture-4-1": ("4-1", "benign"),
    "CTU-Honeypot-Capture-5-1": ("5-1", "benign"),
}

GROUP_OF: Final = {
    "4-1": "hue_bridge",
    "sentinel/HueBridge": "hue_bridge",
    "5-1": "amazon_echo",
    "sentinel/EdnetCam1": "ednet_camera",
    "sentinel/EdnetCam2": "ednet_camera",
    "sentinel/EdimaxPlug1101W": "edimax_plug",
    "sentinel/EdimaxPlug2101W": "edimax_plug",
    "sentinel/WeMoInsightSwitch": "wemo_insight",
    "sentinel/WeMoInsightSwitch2": "wemo_insight",
    "sentinel/D-LinkSensor": "dlink_wifi_sensor",
    "sentinel/D-LinkSwitch": "dlink_wifi_sensor",
    "sentinel/D-LinkWaterSensor": "dlink_wifi_sensor",
}
"""Captures that are the same product, or near twins of one platform; every other capture is its own group."""

SECOND_ROUTES: Final = (
    ("CTU-IoT-Malware-Capture-42-1", "42-1", "2019-01-10*.pcap*"),
    ("CTU-Honeypot-Capture-4-1", "4-1", "2018-10-25*.pcap*"),
)
"""Folder, capture and packet file of what exists both as Zeek's log and as packets."""

TCP: Final = 6

_Mask: TypeAlias = Callable[[FlowBatch, npt.NDArray[np.bool_]], npt.NDArray[np.bool_]]


def list_captures(data: Path) -> tuple[Capture, ...]:
    """Every capture found under ``data``, sorted by family and name.

    Raises:
        ConfigError: the folder holds none of the public captures.
    """
    found = [
        *_list_logs(data),
        *_list_devices(data / "benign" / "home-devices-2020", "home-2020", "home"),
        *_list_devices(data / "benign" / "iot-sentinel-2016", "sentinel-2016", "sentinel"),
    ]
    if not found:
        raise ConfigError(str(data), "holds none of the public captures", "see docs/evaluation.md for the layout")
    return tuple(sorted(found, key=lambda capture: (capture.family, capture.name)))


def list_second_routes(data: Path) -> tuple[Capture, ...]:
    """The packet captures that 42-1's and 4-1's logs were made from; their labels are not the logs' and go unused."""
    found = []
    for folder, name, pattern in SECOND_ROUTES:
        paths = tuple(sorted((data / "iot23" / folder).glob(pattern)))
        if paths:
            found.append(_capture(name, "iot23", "benign", paths))
    return tuple(found)


def load_capture(capture: Capture, cache: Path | None = None) -> FlowBatch:
    """All flows of a capture in time order, labelled; sessions of one device are joined.

    Args:
        capture: what to read.
        cache: folder for parsed columns, keyed by the files' content and the reader's source; None reads afresh.

    Raises:
        InputError: a file is not what it claims to be.
    """
    return _in_time_order(FlowBatch.concatenate(load_sessions(capture, cache)))


def load_sessions(capture: Capture, cache: Path | None = None) -> tuple[FlowBatch, ...]:
    """The capture as stretches across which no sentence may run: one per set-up session, else a single one.

    Raises:
        ConfigError: a file is the packaged sample, or its run's manifest keeps it out of training.
        InputError: a file is not what it claims to be.
    """
    for path in filter(Path.is_file, capture.paths):
        _refuse_excluded(path)
    if cache is None:
        return _read_sessions(capture)
    folder = cache / f"{capture.name.replace('/', '_')}-{_cache_key(capture)}"
    if not folder.is_dir():
        _write_cache(folder, _read_sessions(capture))
    return tuple(read_columns(path) for path in sorted(folder.glob("*.npz")))


def _list_logs(data: Path) -> list[Capture]:
    found = []
    for folder, (name, kind) in _IOT23.items():
        found += [_capture(name, "iot23", kind, (path,)) for path in (data / "iot23" / folder).glob("conn.log*")]
    for folder_path in sorted((data / "lan-mixed").glob("0*")):
        paths = tuple(sorted(folder_path.glob("conn.log*")))[:1]
        if paths:
            found.append(_capture(f"lan-{folder_path.name[:3]}", "lan-mixed", "attack", paths))
    tables = (data / "ton_iot" / "network").glob("train_test_network.csv*")
    return found + [_capture("ton_iot", "ton_iot", "table", (path,)) for path in tables]


def _list_devices(folder: Path, family: Family, prefix: str) -> list[Capture]:
    if not folder.is_dir():
        return []
    devices = sorted(path for path in folder.iterdir() if path.is_dir())
    captures = [
        _capture(f"{prefix}/{device.name}", family, "benign", tuple(sorted(device.glob("*.pcap*"))))
        for device in devices
    ]
    return [capture for capture in captures if capture.paths]


def _capture(name: str, family: Family, kind: Kind, paths: tuple[Path, ...]) -> Capture:
    return Capture(name=name, family=family, group=GROUP_OF.get(name, name), kind=kind, paths=paths)


def _refuse_excluded(path: Path) -> None:
    """What was recorded to be shown, not learned from, is known by its run's manifest, beside it or in the package."""
    if _read_manifest(path.with_name("manifest.json")).get("exclude_from_training"):
        raise ConfigError(str(path), "its manifest.json excludes it from training", "move it out of the data folder")
    sample = _read_manifest(PACKAGED_SAMPLE.with_name("manifest.json")).get("files", {})
    hashes = {entry["sha256"] for entry in sample.values() if entry["size_bytes"] == path.stat().st_size}
    if hashes and hashlib.sha256(path.read_bytes()).hexdigest() in hashes:
        raise ConfigError(str(path), "is the packaged sample, which is kept out of training", "remove it")


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a recording run; empty where there is none."""
    try:
        manifest = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(str(path), f"not JSON: {error}", "a recording run's manifest has this name") from error
    if not isinstance(manifest, dict):
        raise ConfigError(str(path), "not a JSON object", "a recording run's manifest has this name")
    return manifest


def _read_sessions(capture: Capture) -> tuple[FlowBatch, ...]:
    files = [_label(capture, read_flows(path)) for path in capture.paths]
    if capture.family == "sentinel-2016":
        sessions = [_in_time_order(flows) for flows in files if len(flows)]
        return tuple(sorted(sessions, key=lambda flows: float(flows.started_at_s[0])))
    return (_in_time_order(FlowBatch.concatenate(files)),)


def _in_time_order(flows: FlowBatch) -> FlowBatch:
    return flows.take(np.argsort(flows.started_at_s, kind="stable")) if flows.is_timed else flows


def _label(capture: Capture, flows: FlowBatch) -> FlowBatch:
    if capture.kind == "benign":
        return replace(flows, labels=constant_labels(len(flows), AttackClass.BENIGN))
    if capture.name == "lan-002":
        return replace(flows, labels=constant_labels(len(flows), AttackClass.SCAN))
    if flows.labels is None or capture.name not in UNTRUSTED:
        return flows
    is_benign = flows.labels.malicious == 0
    return mask_labels(flows, is_benign & UNTRUSTED[capture.name](flows, is_benign))


def constant_labels(count: int, attack_class: AttackClass) -> Labels:
    """Labels for ``count`` flows that are all of one class, none of them TON_IoT's."""
    is_malicious = attack_class is not AttackClass.BENIGN
    return Labels(
        malicious=np.full(count, is_malicious, dtype=np.int8),
        attack_class=np.full(count, CLASS_INDEX[attack_class], dtype=np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        detail=np.full(count, attack_class.value.encode(), dtype="S48"),
    )


def mask_labels(flows: FlowBatch, rows: npt.NDArray[np.bool_]) -> FlowBatch:
    """The same flows with the labels of ``rows`` (bool (n,)) set to -1: context, never target, never scored."""
    if flows.labels is None:
        return flows
    labels = replace(
        flows.labels,
        malicious=np.where(rows, np.int8(-1), flows.labels.malicious),
        attack_class=np.where(rows, np.int8(-1), flows.labels.attack_class),
        ton_class=np.where(rows, np.int8(-1), flows.labels.ton_class),
    )
    return replace(flows, labels=labels)


def _goes_to(address: str, port: int, *, is_unanswered_tcp: bool = False) -> _Mask:
    expected = np.array(words_from_address(ipaddress.ip_address(address)), dtype=np.uint64)

    def is_match(flows: FlowBatch, _is_benign: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        matches = (flows.resp_address == expected).all(axis=1) & (flows.resp_port == port)
        if is_unanswered_tcp:
            matches &= (flows.proto == TCP) & (flows.conn_state == CONN_STATE_CODE["S0"])
        return np.asarray(matches)

    return is_match


def _any_of(*masks: _Mask) -> _Mask:
    return lambda flows, is_benign: np.logical_or.reduce([mask(flows, is_benign) for mask in masks])


UNTRUSTED: Final[dict[str, _Mask]] = {
    "34-1": _any_of(
        _goes_to("185.244.25.235", 80),
        _goes_to("50.50.50.53", 53, is_unanswered_tcp=True),
        _goes_to("1.1.1.1", 1, is_unanswered_tcp=True),
    ),
    "42-1": _goes_to("185.244.25.183", 4975),
    "43-1-partial": lambda _flows, is_benign: is_benign,
}
"""Rows that say "Benign" and most likely are not: contacts of a C&C host; scanning that nobody labelled; two floods of
up to 5,110 unanswered SYNs with made-up source ports, within the hours of the labelled floods and of their form."""


def _cache_key(capture: Capture) -> str:
    digest = hashlib.sha256(_reader_digest().encode())
    for path in capture.paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


def _reader_digest() -> str:
    """Hash of the source that decides what a file turns into: any change of it reads the captures anew."""
    sources = [Path(__file__), Path(thingwarden.domain.flow.__file__)]
    for folder in thingwarden.ingest.__path__:
        sources.extend(sorted(Path(folder).rglob("*.py")))
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _write_cache(folder: Path, sessions: tuple[FlowBatch, ...]) -> None:
    """Write beside and rename, so that a run that was cut off never leaves half a capture."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    unfinished.mkdir(parents=True, exist_ok=True)
    for index, flows in enumerate(sessions):
        write_columns(flows, unfinished / f"{index:05d}.npz")
    if not folder.exists():
        unfinished.rename(folder)


class Part(NamedTuple):
    """A stretch of one capture in which sentences may run: the whole of it, or one set-up session."""

    capture: Capture
    flows: FlowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class LabCorpus:
    """Simulated networks.

    Attributes:
        folder: where they lie.
        sha256: of its manifest, which holds the hash of every file: equal for equal networks.
        manifest: what is known of each network.
        parts: those with the purpose ``train``, one capture of the family ``lab`` each.
    """

    folder: Path
    sha256: str
    manifest: LabManifest
    parts: tuple[Part, ...]

    def find(self, name: str) -> LabNetwork:
        """The network of that name."""
        return next(network for network in self.manifest.networks if network.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Everything at hand, read once.

    Attributes:
        parts: the timed captures, session by session.
        ton: TON_IoT's rows in the file's order, untimed; empty where the set is absent.
        second_routes: packets of captures whose log is among ``parts``, under the same name; never learned from.
        lab: simulated networks; None where none were given.
    """

    parts: tuple[Part, ...]
    ton: FlowBatch
    second_routes: tuple[Part, ...] = ()
    lab: LabCorpus | None = None


def load_corpus(data: Path, cache: Path | None = None, lab: Path | None = None) -> Corpus:
    """Read every capture under ``data``, and the lab corpus in the folder ``lab``.

    Raises:
        ConfigError: no capture was found.
        InputError: a file is not what it claims to be.
    """
    captures = list_captures(data)
    simulated = None if lab is None else load_lab(lab)
    timed = [capture for capture in captures if capture.kind != "table"]
    tables = [load_capture(capture, cache) for capture in captures if capture.kind == "table"]
    parts = tuple(Part(capture, flows) for capture in timed for flows in load_sessions(capture, cache))
    routes = tuple(Part(capture, load_capture(capture, cache)) for capture in list_second_routes(data))
    return Corpus(parts=parts, ton=FlowBatch.concatenate(tables), second_routes=routes, lab=simulated)


def load_lab(folder: Path) -> LabCorpus:
    """Read the networks that may be learned from; those to count in stay on disk.

    Raises:
        InputError: the folder is no lab corpus, or a file is not what its manifest says.
    """
    manifest = read_manifest(folder)
    parts = tuple(
        Part(_lab_capture(folder, network), _mask_unshown(_without_uid(read_network(folder, network))))
        for network in manifest.networks
        if network.purpose == "train"
    )
    return LabCorpus(folder=folder, sha256=manifest_digest(folder), manifest=manifest, parts=parts)


def _lab_capture(folder: Path, network: LabNetwork) -> Capture:
    return Capture(
        name=network.name,
        family="lab",
        group=network.name,
        kind="attack" if network.acts else "benign",
        paths=(folder / network.file,),
    )


def _mask_unshown(flows: FlowBatch) -> FlowBatch:
    """Who stands in the middle changes link-layer addresses only: a word of what passes shows nothing of it."""
    if flows.labels is None:
        return flows
    return mask_labels(flows, flows.labels.attack_class == CLASS_INDEX[AttackClass.MITM])


def _without_uid(flows: FlowBatch) -> FlowBatch:
    """Nothing that learns looks at it, and a tenth of the memory goes with it."""
    return replace(flows, uid=np.broadcast_to(np.zeros((), dtype=COLUMN_DTYPES["uid"]), len(flows)))
