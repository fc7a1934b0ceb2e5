"""A scorer that remembers each device's latest words, and can say what it would have thought had they been others.

In: ``WordBatch`` chunks, as any scorer; later a word's device and number, and what to exchange. Out: ``Scores``;
``Passage``s; class probabilities of the word after each exchange.
Must never: change a score; remember more than a bounded number of words of a device; let the cut of a chunk change
what is recalled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.word import UNATTRIBUTED, Scores, WordBatch
from thingwarden.model.scorer import FlowScorer, SentenceState

STRIDE_WORDS: Final = 64
"""Most words of one device that are scored between two looks at its state."""

QUIET_PROBABILITY: Final = 0.9
"""A word is quiet, and may stand for what its device usually says, when it is benign at least so probably."""

_FIRST_DEVICES: Final = 1024
_OLDER: Final = 0
_NEWER: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The end of a sentence: k words, the one in question last, and the state before them.

    Attributes:
        fields: uint8 (k, F).
        flow: int64 (k,), rows of the words' flows.
        is_orig: bool (k,), whether the device began each flow.
        is_quiet: bool (k,), which of them were scored benign.
        before: of one sentence, where it stood.
    """

    fields: npt.NDArray[np.uint8]
    flow: npt.NDArray[np.int64]
    is_orig: npt.NDArray[np.bool_]
    is_quiet: npt.NDArray[np.bool_]
    before: SentenceState

    def __len__(self) -> int:
        return len(self.flow)

    def last(self, count: int, before: SentenceState) -> Passage:
        """Its last ``count`` words, and the state before those."""
        columns = {name: getattr(self, name)[-count:] for name in ("fields", "flow", "is_orig", "is_quiet")}
        return Passage(**columns, before=before)


@dataclass(frozen=True, slots=True)
class _Part:
    """Words of a chunk that are scored in one go, in order, at most ``STRIDE_WORDS`` of a device.

    ``rows`` are their places in the chunk, ``number`` the how-manyth word of its device each is, of a probe that of the
    word before it; ``device`` the devices among them with the ``said_count`` words that each had said before, and their
    ``state`` then.
    """

    rows: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64]
    said_count: npt.NDArray[np.int64]
    state: SentenceState


class _Memory:
    """Bounded rings over the latest words of each device, and two states that each has stood at."""

    def __init__(self, word_count: int, field_count: int, state_widths: tuple[int, int]) -> None:
        self.word_count = word_count
        self.fields = np.zeros((0, word_count, field_count), dtype=np.uint8)
        self.flow = np.zeros((0, word_count), dtype=np.int64)
        self.is_orig = np.zeros((0, word_count), dtype=np.bool_)
        self.is_quiet = np.zeros((0, word_count), dtype=np.bool_)
        self.said_count = np.zeros(0, dtype=np.int64)
        self.began_at = np.zeros(0, dtype=np.int64)
        self.stood_at = np.zeros((0, 2), dtype=np.int64)
        self.hidden = np.zeros((0, 2, state_widths[0]), dtype=np.float32)
        self.summary = np.zeros((0, 2, state_widths[1]), dtype=np.float32)

    @property
    def device_bytes(self) -> int:
        """Memory of one device."""
        columns = [column for column in vars(self).values() if isinstance(column, np.ndarray)]
        return sum(column.nbytes // len(column) for column in columns)

    def reserve(self, count: int) -> None:
        """Make room for ``count`` devices; grows by doubling."""
        if count <= len(self.flow):
            return
        capacity = max(count, _FIRST_DEVICES, 2 * len(self.flow))
        for name, column in list(vars(self).items()):
            if isinstance(column, np.ndarray):
                longer = np.zeros((capacity, *column.shape[1:]), dtype=column.dtype)  # zeros take no memory until used
                longer[: len(column)] = column
                setattr(self, name, longer)

    def note_state(self, part: _Part, apart_count: int) -> None:
        """Keep the states at which a part begins, where the newer kept one is ``apart_count`` words old or older."""
        due = part.said_count - self.stood_at[part.device, _NEWER] >= apart_count
        device = part.device[due]
        for kept, now in (
            (self.stood_at, part.said_count),
            (self.hidden, part.state.hidden),
            (self.summary, part.state.summary),
        ):
            kept[device, _OLDER] = kept[device, _NEWER]
            kept[device, _NEWER] = now[due]

    def note_words(self, words: WordBatch, part: _Part, is_quiet: npt.NDArray[np.bool_]) -> None:
        """Keep a part's words in the place of the oldest ones."""
        said = ~words.is_probe[part.rows]
        rows, number = part.rows[said], part.number[said]
        device, place = words.device[rows], (number - 1) % self.word_count
        self.fields[device, place] = words.fields[rows]
        self.flow[device, place] = words.flow[rows]
        self.is_orig[device, place] = words.is_orig[rows]
        self.is_quiet[device, place] = is_quiet[rows]
        np.maximum.at(self.said_count, device, number)
        self._begin(device, number, words.starts_sentence[rows])

    def _begin(
        self, device: npt.NDArray[np.int32], number: npt.NDArray[np.int64], starts: npt.NDArray[np.bool_]
    ) -> None:
        """Where a sentence starts, its device stands at nothing."""
        device, number = device[starts], number[starts]
        np.maximum.at(self.began_at, device, number - 1)
        self.stood_at[device] = self.began_at[device][:, None]
        self.hidden[device] = 0.0
        self.summary[device] = 0.0


class RecallingScorer:
    """Scores as the scorer that it is given, and can go back to any word among a device's latest.

    Args:
        scorer: fresh or reset; used by nobody else.
        window_words: words of a passage.
        reach_words: how many words before the word that a device has said last, in any chunk cut, can be asked about.
    """

    def __init__(self, scorer: FlowScorer, *, window_words: int, reach_words: int) -> None:
        self._scorer, self._window_words = scorer, window_words
        self._apart_words, self._reach_words = window_words + reach_words, reach_words
        self.reset()

    def reset(self) -> None:
        """Forget every device."""
        self._scorer.reset()
        capacity = 2 * (self._apart_words + STRIDE_WORDS)
        self._memory = _Memory(capacity, self._scorer.field_count, self._scorer.state_widths)
        self._words: WordBatch | None = None
        self._is_quiet = np.zeros(0, dtype=np.bool_)
        self._parts: list[_Part] = []

    def forget_flows(self, rows: npt.NDArray[np.int64], flow_count: int, forgotten: int) -> None:
        """Remember of these flows' words only what they say: their rows become those of others.

        Args:
            rows: of ``flow_count`` rows.
            flow_count: rows of the flows whose words are scored.
            forgotten: the row that such words are given instead.
        """
        self._settle()
        is_gone = np.zeros(flow_count, dtype=np.bool_)
        is_gone[rows] = True
        self._memory.flow[is_gone[self._memory.flow]] = forgotten

    @property
    def state_bytes(self) -> int:
        """Memory of one device, the scorer's own state included."""
        self._memory.reserve(1)
        return self._scorer.state_bytes + self._memory.device_bytes

    def score(self, words: WordBatch) -> Scores:
        """Score n words in order; the words of the call before can no longer be asked about beyond their reach.

        Raises:
            ArtifactError: the words have another number of fields than the network reads.
        """
        self._settle()
        if not len(words):
            return self._scorer.score(words)
        self._memory.reserve(int(words.device.max()) + 1)
        self._words = words
        scores = self._score_parts(words)
        self._is_quiet = scores.class_probability[:, 0] >= QUIET_PROBABILITY
        return scores

    def recall(self, device: int, number: int) -> Passage | None:
        """The words up to a device's ``number``-th, counted from 1; None where they are no longer remembered.

        A passage is shorter than the window only where the device's sentence is.
        """
        if self._words is None or device == UNATTRIBUTED or device >= len(self._memory.said_count):
            return None
        at, began_at, state = self._stood_before(device, number)
        first = max(number - self._window_words, began_at)
        told = self._words_between(device, at, number, state)
        if told is None:
            return None
        skipped = first - at
        if skipped:
            _, state = self._scorer.run_apart(told.fields[None, :skipped], np.array([skipped]), state)
        return told.last(number - first, state)

    def recall_context(self, device: int, number: int) -> Passage | None:
        """The words of the sentence up to a device's ``number``-th, as many as are kept in any chunk cut.

        The state of the passage is void: these words are for comparing, not for reading on.
        """
        if self._words is None or device == UNATTRIBUTED or device >= len(self._memory.said_count):
            return None
        kept_count = self._memory.word_count - self._reach_words
        after = max(number - kept_count, self._began_before(device, number))
        void = np.zeros((1, 0), dtype=np.float32)
        return self._words_between(device, after, number, SentenceState(void, void))

    def class_probability(
        self,
        passage: Passage,
        others: npt.NDArray[np.uint8],
        exchanged: npt.NDArray[np.bool_],
        dropped: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32]:
        """What the model would think of a passage's last word, had the passage been another.

        Args:
            passage: k words of F fields.
            others: uint8 (k, F), what the words say instead.
            exchanged: bool (V, F), fields that say it.
            dropped: bool (V, k), words left out, the last never.

        Returns:
            float32 (V, C), over ``taxonomy.CLASSES``.
        """
        kept_first = np.argsort(dropped, axis=1, kind="stable")  # (V, k)
        sentences = np.where(exchanged[:, None, :], others[kept_first], passage.fields[kept_first])
        counts = len(passage) - dropped.sum(axis=1)
        before = SentenceState(*(np.repeat(part, len(exchanged), axis=0) for part in passage.before))
        return self._scorer.run_apart(sentences, counts, before)[0]

    def _settle(self) -> None:
        """Put the words of the last call into the rings."""
        if self._words is not None:
            for part in self._parts:
                self._memory.note_state(part, self._apart_words)
                self._memory.note_words(self._words, part, self._is_quiet)
        self._words, self._parts = None, []

    def _score_parts(self, words: WordBatch) -> Scores:
        made = [self._score_part(words, rows, number) for rows, number in self._divide(words)]
        if len(made) == 1:
            return made[0]
        order = np.argsort(np.concatenate([part.rows for part in self._parts]), kind="stable")
        return Scores(
            **{item.name: np.concatenate([getattr(part, item.name) for part in made])[order] for item in fields(Scores)}
        )

    def _divide(self, words: WordBatch) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Rows of each part with their words' numbers; devices without many words are all in the first."""
        by_device = np.argsort(words.device, kind="stable")
        counts = np.bincount(words.device, minlength=len(self._memory.said_count))
        said = np.concatenate([[0], np.cumsum(~words.is_probe[by_device])])
        upto = np.empty(len(words), dtype=np.int64)
        upto[by_device] = said[1:] - np.repeat(said[np.cumsum(counts) - counts], counts)
        number = upto + self._memory.said_count[words.device]
        place = np.maximum(upto - 1, 0) // STRIDE_WORDS  # a probe goes with the word before it
        by_place = np.argsort(place, kind="stable")
        for rows in np.split(by_place, np.flatnonzero(np.diff(place[by_place])) + 1):
            yield rows, number[rows]

    def _score_part(self, words: WordBatch, rows: npt.NDArray[np.int64], number: npt.NDArray[np.int64]) -> Scores:
        device, first = np.unique(words.device[rows].astype(np.int64), return_index=True)
        said_count = number[first] - ~words.is_probe[rows[first]]
        self._parts.append(_Part(rows, number, device, said_count, self._scorer.states_of(device)))
        if len(rows) == len(words):
            return self._scorer.score(words)
        return self._scorer.score(
            WordBatch(**{item.name: getattr(words, item.name)[rows] for item in fields(WordBatch)})
        )

    def _stood_before(self, device: int, number: int) -> tuple[int, int, SentenceState]:
        """The latest known standing from which a word's whole window can be read, and where its sentence began."""
        memory = self._memory
        began_at = self._began_before(device, number)
        needed = max(number - self._window_words, began_at)
        blank = (np.zeros((1, part.shape[2]), dtype=np.float32) for part in (memory.hidden, memory.summary))
        at, state = began_at, SentenceState(*blank)
        for side in (_OLDER, _NEWER):
            if at < memory.stood_at[device, side] <= needed:
                at = int(memory.stood_at[device, side])
                state = SentenceState(memory.hidden[device, side][None], memory.summary[device, side][None])
        for part in self._parts:
            place = int(np.searchsorted(part.device, device))
            if place < len(part.device) and part.device[place] == device and at < part.said_count[place] <= needed:
                at = int(part.said_count[place])
                state = SentenceState(part.state.hidden[place][None], part.state.summary[place][None])
        return at, began_at, state

    def _began_before(self, device: int, number: int) -> int:
        """How many words the device had said when the sentence of its ``number``-th word began."""
        began_at = int(self._memory.began_at[device])
        for part in self._parts:
            assert self._words is not None
            is_start = (self._words.device[part.rows] == device) & self._words.starts_sentence[part.rows]
            starts = part.number[is_start & (part.number <= number)]
            began_at = max(began_at, int(starts.max(initial=began_at + 1)) - 1)
        return began_at

    def _words_between(self, device: int, after: int, upto: int, state: SentenceState) -> Passage | None:
        """A device's words from number ``after`` + 1 to ``upto``, with the state before them."""
        memory = self._memory
        said_count = int(memory.said_count[device])
        if after < said_count - memory.word_count or upto <= after:
            return None
        place = np.arange(after, min(upto, said_count)) % memory.word_count
        rows = self._rows_between(device, after, upto)
        if len(place) + len(rows) != upto - after:
            return None
        assert self._words is not None
        return Passage(
            fields=np.concatenate([memory.fields[device, place], self._words.fields[rows]]),
            flow=np.concatenate([memory.flow[device, place], self._words.flow[rows]]),
            is_orig=np.concatenate([memory.is_orig[device, place], self._words.is_orig[rows]]),
            is_quiet=np.concatenate([memory.is_quiet[device, place], self._is_quiet[rows]]),
            before=state,
        )

    def _rows_between(self, device: int, after: int, upto: int) -> npt.NDArray[np.int64]:
        """Where the last call's words hold a device's words from number ``after`` + 1 to ``upto``."""
        found = [np.zeros(0, dtype=np.int64)]
        for part in self._parts:
            assert self._words is not None
            is_asked = (self._words.device[part.rows] == device) & (part.number > after) & (part.number <= upto)
            is_asked &= ~self._words.is_probe[part.rows]
            found.append(part.rows[is_asked])
        return np.concatenate(found)
