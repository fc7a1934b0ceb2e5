"""The flow language model at run time: words in, scores out, one small state per device.

In: ``WordBatch`` chunks in knowable order. Out: ``Scores``.
Must never: import torch; let the cut of a chunk or the mix of devices in it change a score; remember a probe.

A probe is one step from the state that its device stands at, and the state after it is thrown away. So the words that
are remembered are read first, the state is kept wherever a probe stands, and then all probes are read side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES, Scores, WordBatch
from thingwarden.model.artifact import Artifact
from thingwarden.model.habit import HabitMemory

SLICE_WORDS: Final = 256
"""Words of one sentence per run of the network; a longer stretch is cut and its state carried on."""

RUN_WORDS: Final = 128
"""Words per run of the network, padding included: its tensors stay in the cache and in the session's arena, which
never grows beyond some 3 MB; larger runs cost memory and make no word cheaper."""

OUTPUTS: Final = ("attack_class", "ton_class", "role", "hidden_out", "summaries")
MEMORY: Final = "memory"
"""The output that holds the state after every word; asked for where there are probes only."""

_FIRST_DEVICES: Final = 1024
_FLOOR: Final = 1e-12


class SentenceState(NamedTuple):
    """What n sentences have left behind."""

    hidden: npt.NDArray[np.float32]  # (n, S)
    summary: npt.NDArray[np.float32]  # (n, H)


class _Stretches:
    """The sentences, or parts of sentences, that a chunk holds, each with the state it stands at.

    Attributes:
        order: int64 (n,), the words that are remembered, sorted by device.
        first, count: int64 (S,), where in ``order`` each stretch's unread words begin, and how many they are.
        device: int64 (S,).
        hidden: float32, what the network's reader remembers of each.
        summary: float32, what it knew after the word before.
    """

    def __init__(self, words: WordBatch, hidden: npt.NDArray[np.float32], summary: npt.NDArray[np.float32]) -> None:
        said = np.flatnonzero(~words.is_probe)
        self.order = said[np.argsort(words.device[said], kind="stable")]
        device, starts = words.device[self.order], words.starts_sentence[self.order]
        breaks = np.ones(len(device), dtype=bool)
        breaks[1:] = (device[1:] != device[:-1]) | starts[1:]
        self.first = np.flatnonzero(breaks)
        self.count = np.diff(np.append(self.first, len(device)))
        self.device = device[self.first].astype(np.int64)
        is_fresh = starts[self.first][:, None]
        self.hidden = np.where(is_fresh, np.float32(0), hidden[self.device])
        self.summary = np.where(is_fresh, np.float32(0), summary[self.device])

    def groups(self) -> Iterator[npt.NDArray[np.int64]]:
        """Indices of stretches to read next, those of similar length together so that little is padding."""
        length = np.frexp(np.minimum(self.count, SLICE_WORDS).astype(np.float64))[1]
        for exponent in np.unique(length[self.count > 0]).tolist():
            alike = np.flatnonzero((length == exponent) & (self.count > 0))
            width = max(1, RUN_WORDS >> int(exponent))
            yield from np.split(alike, range(width, len(alike), width))

    def advance(
        self, group: npt.NDArray[np.int64], hidden: npt.NDArray[np.float32], summary: npt.NDArray[np.float32]
    ) -> None:
        """Note that a slice of each stretch of ``group`` was read."""
        self.hidden[group], self.summary[group] = hidden, summary
        self.first[group] += SLICE_WORDS
        self.count[group] = np.maximum(self.count[group] - SLICE_WORDS, 0)

    @property
    def is_last(self) -> npt.NDArray[np.bool_]:
        """Which stretch is its device's last in the chunk, bool (S,)."""
        return np.append(self.device[1:] != self.device[:-1], True)[: len(self.device)]


class _Probes:
    """The probes of a chunk, and the states that they are read from.

    Attributes:
        rows: int64 (P,), which words they are.
        hidden: float32 (P, S); complete once every word has been shown to ``keep``.
    """

    def __init__(self, words: WordBatch, hidden: npt.NDArray[np.float32]) -> None:
        self.rows = np.flatnonzero(words.is_probe)
        self.hidden = hidden[words.device[self.rows]]
        by_device = np.argsort(words.device, kind="stable")
        device, is_probe = words.device[by_device], words.is_probe[by_device]
        place = np.maximum.accumulate(np.where(is_probe, -1, np.arange(len(words))))[is_probe]
        follows = (place >= 0) & (device[place] == device[is_probe])
        probe = np.searchsorted(self.rows, by_device[is_probe][follows])
        before = by_device[place[follows]]  # the word after which each of these probes stands
        order = np.argsort(before, kind="stable")
        self._probe, self._before = probe[order], before[order]
        self._is_awaited = np.zeros(len(words), dtype=np.bool_)
        self._is_awaited[before] = True

    def keep(self, rows: npt.NDArray[np.int64], memory: npt.NDArray[np.float32]) -> None:
        """Note the states (n, S) after the words ``rows`` (n,) where probes stand."""
        awaited = np.flatnonzero(self._is_awaited[rows])
        first, beyond = (np.searchsorted(self._before, rows[awaited], side=side) for side in ("left", "right"))
        count = beyond - first
        within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        self.hidden[self._probe[np.repeat(first, count) + within]] = np.repeat(memory[awaited], count, axis=0)


class FlowScorer:
    """Scores words by the network of an artifact.

    Args:
        artifact: a verified model.
        threads: processor threads that a run may use.

    Raises:
        ArtifactError: ONNX Runtime refuses the network.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # every run has a shape of its own, and each would keep a plan
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                artifact.network, sess_options=options, providers=["CPUExecutionProvider"]
            )
            inputs = {value.name: value.shape for value in self._session.get_inputs()}
            self._field_count = int(inputs["ids"][2])
            outputs = {value.name: value.shape for value in self._session.get_outputs()}
            self._memory_width, self._width = int(inputs["hidden"][2]), int(outputs["summaries"][2])
        except Exception as error:  # ONNX Runtime raises a family of its own, none of them public
            raise ArtifactError(str(artifact.path / "model.onnx"), f"not a network that runs here: {error}") from error
        self._habit = HabitMemory(artifact.habit, artifact.calibration, artifact.path)
        self.reset()

    def reset(self) -> None:
        """Forget every device's state."""
        self._habit.reset()
        self._hidden = np.zeros((_FIRST_DEVICES, self._memory_width), dtype=np.float32)
        self._summary = np.zeros((_FIRST_DEVICES, self._width), dtype=np.float32)

    @property
    def field_count(self) -> int:
        """Fields of a word, F."""
        return self._field_count

    @property
    def state_widths(self) -> tuple[int, int]:
        """Numbers in the two parts of a state, S and H."""
        return self._memory_width, self._width

    @property
    def state_bytes(self) -> int:
        """Memory of one device's state."""
        return int(self._hidden[0].nbytes + self._summary[0].nbytes) + self._habit.device_bytes

    def states(self) -> npt.NDArray[np.float32]:
        """Each device's last summary, float32 (devices, H): what the provenance probe reads."""
        return self._summary.copy()

    def states_of(self, devices: npt.NDArray[np.int64]) -> SentenceState:
        """Where the sentences of n devices stand."""
        self._reserve(int(devices.max(initial=-1)) + 1)
        return SentenceState(self._hidden[devices], self._summary[devices])

    def run_apart(
        self, fields: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64], state: SentenceState
    ) -> tuple[npt.NDArray[np.float32], SentenceState]:
        """Read sentences that no device has said, from given states; no device's state changes.

        Args:
            fields: uint8 (B, T, F).
            counts: int64 (B,), words of each sentence that are read, from 1 to T.
            state: of the B sentences before these words.

        Returns:
            Class probabilities of each sentence's last word, float32 (B, C), and the states after it.
        """
        width = max(1, RUN_WORDS // fields.shape[1])
        runs = [
            self._run_apart(fields[part], counts[part], SentenceState(state.hidden[part], state.summary[part]))
            for part in (slice(start, start + width) for start in range(0, max(len(counts), 1), width))
        ]
        attack_class, hidden, summary = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        return attack_class, SentenceState(hidden, summary)

    def _run_apart(
        self, fields: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64], state: SentenceState
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        feeds = {
            "ids": fields.transpose(1, 0, 2).astype(np.int32),
            "counts": counts.astype(np.int32),
            "hidden": state.hidden[None],
        }
        wanted = ["attack_class", "hidden_out", "summaries"]
        attack_class, hidden, summaries = self._session.run(wanted, feeds)
        last = counts - 1, np.arange(len(counts))
        return attack_class[last], hidden[0], summaries[last]

    def score(self, words: WordBatch) -> Scores:
        """Score n words in order.

        Raises:
            ArtifactError: the words have another number of fields than the network reads.
        """
        if words.fields.shape[1] != self._field_count:
            raise ArtifactError(
                "model.onnx", f"reads {self._field_count} fields, the encoder gives {words.fields.shape[1]}"
            )
        scores = _empty_scores(len(words))
        if not len(words):
            return scores
        self._reserve(int(words.device.max()) + 1)
        stretches = _Stretches(words, self._hidden, self._summary)
        summaries = np.zeros((len(words), self._width), dtype=np.float32)
        probes = _Probes(words, self._hidden) if words.is_probe.any() else None
        while stretches.count.any():
            for group in stretches.groups():
                self._run(words, stretches, group, probes, scores, summaries)
        if probes is not None:
            self._look(words, probes, scores)
        suspicion = _log_odds(scores.class_probability)
        scores.surprise_nats[:] = self._habit.observe(words, suspicion, summaries, self._summary)
        last = stretches.is_last
        self._hidden[stretches.device[last]] = stretches.hidden[last]
        self._summary[stretches.device[last]] = stretches.summary[last]
        return scores

    def _reserve(self, count: int) -> None:
        if count > len(self._hidden):
            missing = max(count, 2 * len(self._hidden)) - len(self._hidden)
            self._hidden, self._summary = (
                np.concatenate([part, np.zeros((missing, part.shape[1]), dtype=np.float32)])
                for part in (self._hidden, self._summary)
            )

    def _run(
        self,
        words: WordBatch,
        stretches: _Stretches,
        group: npt.NDArray[np.int64],
        probes: _Probes | None,
        scores: Scores,
        summary: npt.NDArray[np.float32],
    ) -> None:
        counts = np.minimum(stretches.count[group], SLICE_WORDS)
        first, step = stretches.first[group], np.arange(counts.max())[:, None]
        is_word = step < counts  # (T, B)
        rows = stretches.order[np.where(is_word, first + step, first)]
        feeds = {
            "ids": words.fields[rows].astype(np.int32),
            "counts": counts.astype(np.int32),
            "hidden": stretches.hidden[group][None],
        }
        wanted = OUTPUTS if probes is None else (*OUTPUTS, MEMORY)
        attack_class, ton_class, role, hidden, summaries, *memory = self._session.run(wanted, feeds)
        rows = rows[is_word]
        summary[rows] = summaries[is_word]
        if probes is not None:
            probes.keep(rows, memory[0][is_word])
        scores.class_probability[rows] = attack_class[is_word]
        scores.ton_probability[rows] = ton_class[is_word]
        scores.role_probability[rows] = role[is_word]
        stretches.advance(group, hidden[0], summaries[counts - 1, np.arange(len(group))])

    def _look(self, words: WordBatch, probes: _Probes, scores: Scores) -> None:
        """Read every probe from the state that it stands at."""
        for start in range(0, len(probes.rows), RUN_WORDS):
            rows, hidden = probes.rows[start : start + RUN_WORDS], probes.hidden[start : start + RUN_WORDS]
            feeds = {
                "ids": words.fields[rows][None].astype(np.int32),
                "counts": np.ones(len(rows), dtype=np.int32),
                "hidden": hidden[None],
            }
            attack_class, ton_class, role = self._session.run(OUTPUTS[:3], feeds)
            scores.class_probability[rows] = attack_class[0]
            scores.ton_probability[rows] = ton_class[0]
            scores.role_probability[rows] = role[0]


def _log_odds(class_probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Log-odds of "not benign" as the network gives them, float64 (n,)."""
    benign = class_probability[:, 0].astype(np.float64)
    return np.asarray(np.log(np.maximum(1.0 - benign, _FLOOR)) - np.log(np.maximum(benign, _FLOOR)))


def _empty_scores(count: int) -> Scores:
    def zeros(width: int) -> npt.NDArray[np.float32]:
        return np.zeros((count, width), dtype=np.float32)

    return Scores(
        class_probability=zeros(len(CLASSES)),
        ton_probability=zeros(len(TON_CLASSES)),
        role_probability=zeros(len(ROLES)),
        surprise_nats=np.zeros(count, dtype=np.float32),
    )
