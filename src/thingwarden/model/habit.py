"""What each device usually begins, and how rare it is that a flow began so: a memory that suspicion never enters.

In: words with the summaries and log-odds that the network gave them. Out: nats of rarity, one number a word.
Must never: let a word under suspicion, or one younger than the quarantine, change what is usual; let the cut of a
chunk change a number.
Source: detection.md, "Surprise that survives its own context"; H. Robbins 1956 (empirical Bayes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from thingwarden.domain.calibration import TAIL_NATS, TAIL_SHARES, Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.word import UNATTRIBUTED, WordBatch

QUARANTINE_S: Final = 600.0
"""Length of an epoch: what is usual is taken at its end, and holds from the end of the next one if that was clean."""

LEAST_CLEAN_WORDS: Final = 64
"""Words in a row without suspicion after which a device's summary may stand for what is usual."""

TRIAL_S: Final = 7 * 86_400.0
"""For so long a device is not judged more strictly than the fleet, however even it seems."""

MOST_REMEMBERED: Final = 4096.0
"""Flows of a device that its own shares rest on at most; older ones fade."""

_NEVER: Final = np.iinfo(np.int64).min
_FIRST_DEVICES: Final = 64

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class HabitMemory:
    """Remembers, per device, how improbable each bucket of an opening's fields is.

    Args:
        network: ONNX; ``summary`` float32 (B, H) in, ``nats`` float32 (B, V) and ``offsets`` int64 (F,) out: -log p of
            every bucket of the fields that openings tell, and where each field's buckets begin, -1 for fields that no
            opening tells, or all alike.
        calibration: how the nats of harmless devices are spread.
        path: how errors name the artifact.

    Raises:
        ArtifactError: ONNX Runtime refuses the network.
    """

    def __init__(self, network: bytes, calibration: Calibration, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                network, sess_options=options, providers=["CPUExecutionProvider"]
            )
            self._width = int(self._session.get_inputs()[0].shape[1])
            self._cold, offsets = self._session.run(None, {"summary": np.zeros((1, self._width), dtype=np.float32)})
        except Exception as error:  # ONNX Runtime raises a family of its own, none of them public
            raise ArtifactError(str(path / "habit.onnx"), f"not a network that runs here: {error}") from error
        self._told = np.flatnonzero(offsets >= 0)
        self._offsets = offsets[self._told]
        self._edges_nats = np.asarray(calibration.surprise_nats)
        self._prior_words = calibration.shrinkage_words
        self.reset()

    def reset(self) -> None:
        """Forget every device."""
        self._nats = np.zeros((0, self._cold.shape[1]), dtype=np.float32)
        self._candidate = np.zeros((0, self._width), dtype=np.float32)
        self._allowance = np.zeros((0, len(TAIL_SHARES) + 1), dtype=np.float32)
        self._known = np.zeros((0, len(TAIL_SHARES) + 1), dtype=np.float32)
        self._fresh = np.zeros((0, len(TAIL_SHARES) + 1), dtype=np.int32)
        self._has_candidate = np.zeros(0, dtype=np.bool_)
        self._clean_run = np.zeros(0, dtype=np.int64)
        self._epoch = np.zeros(0, dtype=np.int64)
        self._first_at_s = np.zeros(0, dtype=np.float64)
        self._reserve(_FIRST_DEVICES)

    @property
    def device_bytes(self) -> int:
        """Memory of one device."""
        return sum(
            int(column[0].nbytes)
            for column in (self._nats, self._candidate, self._allowance, self._known, self._fresh, self._has_candidate,
                           self._clean_run, self._epoch, self._first_at_s)
        )  # fmt: skip

    def observe(
        self, words: WordBatch, log_odds: npt.NDArray[np.float64], summaries: Floats, before: Floats
    ) -> npt.NDArray[np.float32]:
        """Rarity of n words, and what they change.

        Args:
            words: in order.
            log_odds: float64 (n,), that each word is malicious.
            summaries: float32 (n, H), what the network makes of the sentence up to each word.
            before: float32 (devices, H), each device's summary before these words, by index.

        Returns:
            float32 (n,): -ln of the share of harmless flows, of this device as far as it is known, that began as
            improbably; 0 for words that close nothing and for the unattributed sentence. A flow is asked about when it
            ends, because only then its outcome can speak for it; its closing word repeats what its opening said.
        """
        rarity = np.zeros(len(words), dtype=np.float32)
        if not len(words):
            return rarity
        self._reserve(int(words.device.max()) + 1)
        order = np.argsort(words.device, kind="stable")
        order = order[(words.device[order] != UNATTRIBUTED) & ~words.is_probe[order]]
        device = words.device[order].astype(np.int64)
        epoch = np.floor(words.known_at_s[order] / QUARANTINE_S).astype(np.int64)
        first = _breaks(device, epoch, words.starts_sentence[order])
        for wave in _waves(device[first]):
            starts = first[wave]
            rows_before = order[np.maximum(starts - 1, 0)]
            is_later = (starts > 0) & (device[np.maximum(starts - 1, 0)] == device[starts])
            last = np.where(is_later[:, None], summaries[rows_before], before[device[starts]])
            self._turn(device[starts], epoch[starts], words, order[starts], last)
            ends = np.append(first, len(order))[wave + 1]
            self._read(words, log_odds, order, starts, ends, rarity)
        return rarity

    def _reserve(self, count: int) -> None:
        have = len(self._nats)
        if count <= have:
            return
        extra = max(count, 2 * have) - have
        self._nats = np.concatenate([self._nats, np.repeat(self._cold, extra, axis=0)])
        for name in ("_candidate", "_allowance", "_known", "_fresh", "_has_candidate", "_clean_run"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((extra, *column.shape[1:]), dtype=column.dtype)]))
        self._epoch = np.concatenate([self._epoch, np.full(extra, _NEVER, dtype=np.int64)])
        self._first_at_s = np.concatenate([self._first_at_s, np.zeros(extra)])

    def _turn(self, device: Rows, epoch: Rows, words: WordBatch, row: Rows, last: Floats) -> None:
        """Begin an epoch: what passed the quarantine becomes usual, and what is clean now goes into it."""
        self._forget(device[words.starts_sentence[row] | (self._epoch[device] == _NEVER)], words, row, device)
        turns = (self._epoch[device] != epoch) & (self._epoch[device] != _NEVER)
        passed = device[turns & self._has_candidate[device]]
        if len(passed):
            self._promote(passed, words.known_at_s[row[turns & self._has_candidate[device]]])
        turned = device[turns]
        self._has_candidate[turned] = self._clean_run[turned] >= LEAST_CLEAN_WORDS
        self._candidate[turned] = last[turns]
        self._fresh[turned] = 0
        self._epoch[device] = epoch

    def _forget(self, fresh: Rows, words: WordBatch, row: Rows, device: Rows) -> None:
        if not len(fresh):
            return
        self._nats[fresh] = self._cold
        for column in (self._candidate, self._allowance, self._known, self._fresh, self._has_candidate,
                       self._clean_run):  # fmt: skip
            column[fresh] = 0
        self._epoch[fresh] = _NEVER
        self._first_at_s[fresh] = words.known_at_s[row[np.isin(device, fresh)]]

    def _promote(self, device: Rows, at_s: npt.NDArray[np.float64]) -> None:
        self._nats[device] = self._session.run(["nats"], {"summary": self._candidate[device]})[0]
        known = self._known[device] + self._fresh[device]
        total = known.sum(axis=1, keepdims=True)
        known *= np.minimum(1.0, MOST_REMEMBERED / np.maximum(total, 1.0))
        self._known[device] = known
        beyond = known[:, ::-1].cumsum(axis=1)[:, ::-1]  # flows at least as improbable as each bin
        expected = np.append(1.0, TAIL_SHARES)
        share = (self._prior_words * expected + beyond) / (self._prior_words + beyond[:, :1])
        allowance = np.log(np.maximum(share, 1e-6) / expected)
        on_trial = at_s - self._first_at_s[device] < TRIAL_S
        self._allowance[device] = np.where(on_trial[:, None], np.maximum(allowance, 0.0), allowance)

    def _read(
        self, words: WordBatch, log_odds: npt.NDArray[np.float64], order: Rows, starts: Rows, ends: Rows, rarity: Floats
    ) -> None:
        """Rarity of the words of one stretch per device, and whether they leave the device clean."""
        counts = ends - starts
        stretch = np.repeat(np.arange(len(starts)), counts)
        rows = order[np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[stretch]]
        device = words.device[order[starts]].astype(np.int64)
        closes = np.flatnonzero(words.is_close[rows])
        nats = self._surprise(words.fields[rows[closes]], device[stretch[closes]])
        bins = np.searchsorted(self._edges_nats, nats, side="right")
        rare = np.interp(nats, self._edges_nats, TAIL_NATS, left=0.0)
        rare += np.maximum(nats - self._edges_nats[-1], 0.0) * self._slope()
        rare = np.maximum(rare - self._allowance[device[stretch[closes]], bins], 0.0)
        rarity[rows[closes]] = rare
        suspect = log_odds[rows] > 0.0
        last_suspect = np.full(len(starts), -1)
        np.maximum.at(last_suspect, stretch[suspect], np.flatnonzero(suspect))
        is_clean = last_suspect < 0
        since = np.cumsum(counts) - 1 - last_suspect
        self._clean_run[device] = np.where(is_clean, self._clean_run[device] + counts, since)
        self._has_candidate[device] &= is_clean
        np.add.at(self._fresh, (device[stretch[closes]], bins), 1)
        self._fresh[device[~is_clean]] = 0

    def _surprise(self, fields: npt.NDArray[np.uint8], device: Rows) -> npt.NDArray[np.float64]:
        """-log p of how flows began under what their devices usually begin, float64 (k,)."""
        told = fields[:, self._told].astype(np.int64)
        nats = self._nats[device[:, None], self._offsets + told]
        return np.asarray((nats * (told > 0)).sum(axis=1), dtype=np.float64)

    def _slope(self) -> float:
        """Nats of rarity per nat of surprise beyond the last edge."""
        span_nats = max(float(self._edges_nats[-1] - self._edges_nats[-3]), 1e-6)
        return (TAIL_NATS[-1] - TAIL_NATS[-3]) / span_nats


def _breaks(device: Rows, epoch: Rows, starts: npt.NDArray[np.bool_]) -> Rows:
    """Where in rows sorted by device a stretch of one device, one sentence and one epoch begins."""
    begins = np.ones(len(device), dtype=bool)
    begins[1:] = (device[1:] != device[:-1]) | (epoch[1:] != epoch[:-1]) | starts[1:]
    return np.flatnonzero(begins)


def _waves(device: Rows) -> list[Rows]:
    """Stretches by how many of the same device come before them: indices of all first ones, all second ones, ..."""
    if not len(device):
        return []
    begins = np.ones(len(device), dtype=bool)
    begins[1:] = device[1:] != device[:-1]
    first = np.flatnonzero(begins)
    rank = np.arange(len(device)) - np.repeat(first, np.diff(np.append(first, len(device))))
    return [np.flatnonzero(rank == wave) for wave in range(int(rank.max()) + 1)]
