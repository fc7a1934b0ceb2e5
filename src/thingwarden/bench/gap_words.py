"""Words of runs, of lab networks and of public devices, as the gap test compares them.

In: labelled flows and who is who. Out: ``WorldWords``.
Must never: read two worlds by two vocabularies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.domain_gap import WorldWords, sample_words
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.lab_corpus import read_manifest, read_network
from thingwarden.train.corpus import list_captures, load_sessions
from thingwarden.train.weighting import require_labels

WORDS_PER_RUN: Final = 3000
"""Of a network or a public device at most, drawn evenly: one busy device must not stand for all."""

LEAST_TOKEN_FLOWS: Final = 4
_OUTSIDE: Final = "internet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlows:
    """Labelled flows of one run in one world.

    Attributes:
        run: number; equal for the real and the simulated run of one scenario and seed.
        flows: labelled.
        kinds: of the LAN's hosts, by MAC and by address, as text.
    """

    run: int
    flows: FlowBatch
    kinds: Mapping[str, str]


def fit_vocabulary(runs: Iterable[RunFlows]) -> Vocabulary:
    """Tokens of both worlds: what only one of them shows must not hide behind "rare"."""
    return Vocabulary.fit([run.flows for run in runs], least_flows=LEAST_TOKEN_FLOWS)


def read_run(run: RunFlows, vocabulary: Vocabulary) -> WorldWords:
    """All words of a run, opening and closing; a malicious flow's by its act, any other by its device's kind."""
    encoder = SentenceEncoder(vocabulary)
    words = WordBatch.concatenate(encoder.encode(run.flows))
    kinds = [_kind(device, run.kinds).encode() for device in encoder.devices]
    labels = require_labels(run.flows)
    malicious = labels.malicious[words.flow] == 1
    subject = np.where(malicious, _acts(labels.detail)[words.flow], np.array(kinds, dtype="S48")[words.device])
    return WorldWords(
        fields=words.fields,
        run=np.full(len(words), run.run, dtype=np.int64),
        subject=subject.astype("S48"),
        malicious=malicious,
    )


def read_world(runs: Sequence[RunFlows], vocabulary: Vocabulary) -> WorldWords:
    """The words of all runs; at least one run."""
    return WorldWords.join([read_run(run, vocabulary) for run in runs if len(run.flows)])


def _kind(device: Device, kinds: Mapping[str, str]) -> str:
    return kinds.get(device.mac or "") or kinds.get(str(device.address), _OUTSIDE)


def _acts(detail: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
    """The act in labels such as ``scan:scan_slow-1``."""
    unique, inverse = np.unique(detail, return_inverse=True)
    names = [re.sub(rb"-\d+$", b"", name.rpartition(b":")[2]) for name in unique.tolist()]
    return np.array(names, dtype="S48")[inverse]


def read_lab_benign(folder: Path, most_networks: int) -> list[RunFlows]:
    """The first networks of a corpus without their malicious flows, and without what attacks make devices do.

    Networks that hold an attack are left out whole: what a flood does to its neighbours is no usual life.

    Raises:
        InputError: the folder is not a corpus.
    """
    networks = [network for network in read_manifest(folder).networks if not network.acts][:most_networks]
    return [
        RunFlows(
            run=network.number,
            flows=read_network(folder, network),
            kinds={name: device.kind for device in network.devices for name in (device.ip, device.mac)},
        )
        for network in networks
    ]


def read_public_benign(data: Path, cache: Path | None) -> list[RunFlows]:
    """The public captures of harmless devices; sessions of one physical kind of device share their number.

    Raises:
        ConfigError: the folder holds none of the public captures.
        InputError: a file is not what it claims to be.
    """
    captures = [capture for capture in list_captures(data) if capture.kind == "benign"]
    groups = {group: number for number, group in enumerate(sorted({capture.group for capture in captures}))}
    return [
        RunFlows(run=groups[capture.group], flows=flows, kinds={})
        for capture in captures
        for flows in load_sessions(capture, cache)
    ]


def read_sampled(runs: Sequence[RunFlows], vocabulary: Vocabulary) -> WorldWords:
    """As ``read_world``, at most ``WORDS_PER_RUN`` of each number."""
    return sample_words(read_world(runs, vocabulary), WORDS_PER_RUN)
