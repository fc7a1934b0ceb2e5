"""The fold plan: who is never seen in training, decided once, in a file, before any model is trained.

In: ``recipes/folds.toml`` with its file of TON_IoT hashes, and a ``Corpus``. Out: ``FoldView``, one per outer fold.
Must never: put one physical kind of device, one host pair, one recording or one simulated network on both sides of a
fold.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES, TON_CLASSES, AttackClass
from thingwarden.train.corpus import Corpus, Part

TON_PLAN_SEED: Final = 20_260
"""Breaks ties in the balancing of TON_IoT's pairs; chosen before any result was seen."""

LAB_RULE: Final = "number modulo count"
"""The only rule by which a plan places simulated networks: there are too many to name."""

_HASH_DIGITS: Final = 16
_NORMAL: Final = TON_CLASSES.index("normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """Which fold everything is held out in.

    Attributes:
        count: number of outer folds.
        captures: fold by name, for captures that hold attacks.
        groups: fold by physical device kind, for benign captures.
        classes: fold by attack class, for the protocol that leaves a class out.
        ton_pairs: fold by hash of TON_IoT's unordered host pair.
        ton_sources: fold by hash of the source address, for TON_IoT's normal rows.
        sha256: of the plan's files; every report prints it.
    """

    count: int
    captures: Mapping[str, int]
    groups: Mapping[str, int]
    classes: Mapping[AttackClass, int]
    ton_pairs: Mapping[str, int]
    ton_sources: Mapping[str, int]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldView:
    """What one fold trains on, sets thresholds on and is tested on.

    Attributes:
        name: ``0`` to ``4``, or the name of a view that serves a single protocol.
        fold: the outer fold that it derives from.
        train: parts to fit on; those of the family ``lab`` are simulated.
        calibration: benign parts of the next fold, left out of ``train``, on which thresholds are set.
        test: recorded parts never seen in fitting; empty in a blind view.
        second_routes: packets of captures whose logs are in ``test``.
        ton: TON_IoT's rows; in a blind view only those of ``ton_train``.
        ton_train, ton_test_pairs, ton_test_sources: int64, rows of ``ton``; the last are normal rows only.
        absent: attack classes that training must not show, not even as a sketch.
        lab_test: simulated parts never seen in fitting; empty in a blind view.
    """

    name: str
    fold: int
    train: tuple[Part, ...]
    calibration: tuple[Part, ...]
    test: tuple[Part, ...]
    second_routes: tuple[Part, ...]
    ton: FlowBatch
    ton_train: npt.NDArray[np.int64]
    ton_test_pairs: npt.NDArray[np.int64]
    ton_test_sources: npt.NDArray[np.int64]
    absent: tuple[AttackClass, ...] = ()
    lab_test: tuple[Part, ...] = ()

    def blind(self) -> FoldView:
        """The same view without anything that is tested on: all that a contestant may see while fitting."""
        none = np.zeros(0, dtype=np.int64)
        return replace(
            self,
            test=(),
            lab_test=(),
            second_routes=(),
            ton=self.ton.take(self.ton_train),
            ton_train=np.arange(len(self.ton_train), dtype=np.int64),
            ton_test_pairs=none,
            ton_test_sources=none,
        )

    def without_lab(self) -> FoldView:
        """The same view with nothing simulated to fit on or to set thresholds on."""
        train, calibration = (
            tuple(part for part in parts if part.capture.family != "lab") for parts in (self.train, self.calibration)
        )
        return replace(self, train=train, calibration=calibration)


def load_plan(path: Path) -> FoldPlan:
    """Read the fold plan and the file of hashes that it names, which lies beside it.

    Raises:
        ConfigError: a file is missing or says something that a plan cannot say.
    """
    try:
        text = path.read_bytes()
        table = tomllib.loads(text.decode())
        hashes_path = path.with_name(table["ton_iot"]["hashes"])
        if table["lab"]["fold"] != LAB_RULE:
            raise ValueError(f"[lab] fold must be {LAB_RULE!r}")
        hashes = hashes_path.read_bytes()
        folds_of = _parse_hashes(hashes.decode())
        return FoldPlan(
            count=table["count"],
            captures=table["captures"],
            groups=table["groups"],
            classes={AttackClass(name): fold for name, fold in table["classes"].items()},
            ton_pairs=folds_of["pair"],
            ton_sources=folds_of["source"],
            sha256=hashlib.sha256(text + hashes).hexdigest(),
        )
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(str(path), f"not a fold plan: {error!r}", "run from the repository root") from error


def _parse_hashes(text: str) -> dict[str, dict[str, int]]:
    folds_of: dict[str, dict[str, int]] = {"pair": {}, "source": {}}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            what, digest, fold = line.split("\t")
            folds_of[what][digest] = int(fold)
    return folds_of


def fold_of_part(plan: FoldPlan, part: Part) -> int:
    """The fold in which a part is held out.

    Raises:
        ConfigError: the plan does not know the capture; a new one is added to the plan, not guessed.
    """
    capture = part.capture
    if capture.family == "lab":
        return int(capture.name.rpartition("-")[2]) % plan.count
    folds = plan.captures if capture.kind == "attack" else plan.groups
    key = capture.name if capture.kind == "attack" else capture.group
    if key not in folds:
        raise ConfigError("fold plan", f"does not place {key}", "add it to recipes/folds.toml")
    return folds[key]


def split_parts(
    plan: FoldPlan, corpus: Corpus, test_fold: int | None, calibration_fold: int
) -> tuple[tuple[Part, ...], tuple[Part, ...], tuple[Part, ...]]:
    """Parts to learn from, benign parts to set thresholds on, and parts to test on, simulated networks included.

    Args:
        plan, corpus: who is in which fold.
        test_fold: None tests on nothing.
        calibration_fold: its benign parts set thresholds; its attacks are learned from.
    """
    train: list[Part] = []
    calibration: list[Part] = []
    test: list[Part] = []
    for part in (*corpus.parts, *(corpus.lab.parts if corpus.lab else ())):
        held_out_in = fold_of_part(plan, part)
        if held_out_in == test_fold:
            test.append(part)
        elif held_out_in == calibration_fold and part.capture.kind == "benign":
            calibration.append(part)
        else:
            train.append(part)
    return tuple(train), tuple(calibration), tuple(test)


def view_fold(plan: FoldPlan, corpus: Corpus, fold: int) -> FoldView:
    """The outer fold ``fold``: what it holds out is tested on, all else may be learned from."""
    train, calibration, test = split_parts(plan, corpus, fold, (fold + 1) % plan.count)
    in_pair, in_source = _ton_membership(plan, corpus.ton, fold)
    tested = {part.capture.name for part in test}
    return FoldView(
        name=str(fold),
        fold=fold,
        train=train,
        calibration=calibration,
        test=tuple(part for part in test if part.capture.family != "lab"),
        lab_test=tuple(part for part in test if part.capture.family == "lab"),
        second_routes=tuple(part for part in corpus.second_routes if part.capture.name in tested),
        ton=corpus.ton,
        ton_train=np.flatnonzero(~in_pair & ~in_source),
        ton_test_pairs=np.flatnonzero(in_pair),
        ton_test_sources=np.flatnonzero(in_source),
    )


def view_without_classes(plan: FoldPlan, corpus: Corpus, fold: int) -> FoldView:
    """As ``view_fold``, but the plan's attack classes of this fold are absent from training and all that is tested.

    Captures of the fold stay test-only; from the other captures the class's rows move from training to test. Of the
    simulated networks only those of the fold are tested on: the class's rows in the others are dropped.
    """
    view = view_fold(plan, corpus, fold)
    held_out = [CLASS_INDEX[attack_class] for attack_class, at in plan.classes.items() if at == fold]
    kept, moved = [], []
    for capture, flows in view.train:
        is_held_out = np.isin(_attack_class(flows), held_out)
        kept.append(Part(capture, flows.take(~is_held_out) if is_held_out.any() else flows))
        if is_held_out.any() and capture.family != "lab":
            moved.append(Part(capture, flows))
    is_held_out_row = np.isin(_attack_class(view.ton), held_out)
    return replace(
        view,
        name=f"class-{fold}",
        train=tuple(kept),
        test=view.test + tuple(moved),
        ton_train=view.ton_train[~is_held_out_row[view.ton_train]],
        ton_test_pairs=np.flatnonzero(is_held_out_row),
        absent=tuple(attack_class for attack_class, at in plan.classes.items() if at == fold),
    )


def view_across(plan: FoldPlan, corpus: Corpus, *, learns_ton: bool) -> FoldView:
    """Learn from TON_IoT and be tested on the captures, or the other way; thresholds on fold 1's benign devices.

    Benign devices of fold 0 are tested on in both directions. With ``learns_ton`` the only timed flows in training
    are benign ones: without any, nothing could be said about a device's history.
    """
    view = view_fold(plan, corpus, 0)
    attacks = tuple(part for part in corpus.parts if part.capture.kind == "attack")
    lab_attacks = tuple(p for p in view.train if p.capture.family == "lab" and p.capture.kind == "attack")
    benign_test = tuple(part for part in view.test if part.capture.kind == "benign")
    benign_train = tuple(part for part in view.train if part.capture.kind == "benign")
    every = np.arange(len(corpus.ton), dtype=np.int64)
    none = every[:0]
    return replace(
        view,
        name="from-ton" if learns_ton else "to-ton",
        train=benign_train if learns_ton else benign_train + attacks + lab_attacks,
        test=benign_test + attacks if learns_ton else benign_test,
        ton_train=every if learns_ton else none,
        ton_test_pairs=none if learns_ton else every,
        ton_test_sources=none,
        absent=tuple(CLASSES[1:]) if learns_ton else (),
    )


def view_random(plan: FoldPlan, corpus: Corpus, seed: int) -> FoldView:
    """TON_IoT split by row, 80 to 20: the split that leaks, printed beside the honest ones and marked so."""
    view = view_fold(plan, corpus, 0)
    is_test = np.random.default_rng(seed).random(len(corpus.ton)) < 0.2
    return replace(
        view,
        name="random",
        ton_train=np.flatnonzero(~is_test),
        ton_test_pairs=np.flatnonzero(is_test),
        ton_test_sources=np.zeros(0, dtype=np.int64),
    )


def plan_ton(ton: FlowBatch, count: int) -> str:
    """Balance TON_IoT's host pairs and normal sources over ``count`` folds; the text of the plan's hash file.

    Pairs are placed largest first, each where it adds least to the squared share of its classes, so that every
    class with at least ``count`` pairs is in train and test of each fold. Sources likewise, but away from the folds
    that hold out most of their own pairs: one model serves both protocols, and should lose a host's pairs to one
    of them only. Ties go by ``TON_PLAN_SEED``.

    Raises:
        ConfigError: the rows have no labels.
    """
    if ton.labels is None:
        raise ConfigError("TON_IoT", "has no labels", "give the labelled train_test_network.csv")
    ton_class = ton.labels.ton_class.astype(np.int64)
    is_normal = ton_class == _NORMAL
    pairs, sources = hash_pairs(ton), hash_sources(ton)
    pair_folds = _balance(pairs, ton_class, count)
    pair_fold = np.array([pair_folds[str(digest)] for digest in pairs], dtype=np.int64)
    source_folds = _balance(sources[is_normal], ton_class[is_normal], count, pair_fold[is_normal])
    lines = ["# TON_IoT by fold: what, first 64 bits of its SHA-256, fold. Made by thingwarden.train.folds.plan_ton."]
    for what, folds in (("pair", pair_folds), ("source", source_folds)):
        lines += [f"{what}\t{digest}\t{fold}" for digest, fold in sorted(folds.items())]
    return "\n".join(lines) + "\n"


def hash_pairs(flows: FlowBatch) -> npt.NDArray[np.str_]:
    """Hash of each flow's two addresses without their order, str (n,), 64 bits in hexadecimal."""
    ends = np.stack([_address_bytes(flows.orig_address), _address_bytes(flows.resp_address)], axis=1)  # (n, 2)
    return _hash_unique(np.sort(ends, axis=1).view("V32").ravel())


def hash_sources(flows: FlowBatch) -> npt.NDArray[np.str_]:
    """Hash of each flow's source address, str (n,), 64 bits in hexadecimal."""
    return _hash_unique(_address_bytes(flows.orig_address).view("V16"))


def _address_bytes(address: npt.NDArray[np.uint64]) -> npt.NDArray[np.bytes_]:
    """Big-endian bytes, so that sorting them sorts addresses; S16 would drop trailing zeros only when read."""
    return np.ascontiguousarray(address.astype(">u8")).view("S16").ravel()


def _hash_unique(values: npt.NDArray[np.void]) -> npt.NDArray[np.str_]:
    unique, inverse = np.unique(values, return_inverse=True)
    digests = [hashlib.sha256(b"thingwarden ton_iot\n" + value.tobytes()).hexdigest() for value in unique]
    return np.array([digest[:_HASH_DIGITS] for digest in digests], dtype=f"U{_HASH_DIGITS}")[inverse]


def _balance(
    digests: npt.NDArray[np.str_],
    classes: npt.NDArray[np.int64],
    count: int,
    avoid: npt.NDArray[np.int64] | None = None,
) -> dict[str, int]:
    """Fold of each digest; ``avoid`` (n,) names the fold that each row would rather not be in."""
    names, inverse = np.unique(digests, return_inverse=True)
    share = np.zeros((len(names), len(TON_CLASSES)))
    np.add.at(share, (inverse, classes), 1.0)
    share /= np.maximum(share.sum(axis=0), 1.0)
    reluctance = np.zeros((len(names), count))
    if avoid is not None:
        np.add.at(reluctance, (inverse, avoid), 1.0 / len(avoid))
    tie_break = np.random.default_rng(TON_PLAN_SEED).random(len(names))
    load = np.zeros((count, len(TON_CLASSES)))
    folds: dict[str, int] = {}
    for row in np.lexsort((tie_break, -share.max(axis=1))):
        fold = int(np.argmin((2.0 * load * share[row]).sum(axis=1) + reluctance[row]))
        load[fold] += share[row]
        folds[str(names[row])] = fold
    return folds


def _ton_membership(plan: FoldPlan, ton: FlowBatch, fold: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether each row's pair is held out in ``fold``, and whether it is a normal row of a held-out source."""
    if len(ton) == 0 or ton.labels is None:
        nothing = np.zeros(len(ton), dtype=np.bool_)
        return nothing, nothing
    in_pair = _folds_of(plan.ton_pairs, hash_pairs(ton)) == fold
    in_source = _folds_of(plan.ton_sources, hash_sources(ton)) == fold
    return in_pair, in_source & (ton.labels.ton_class == _NORMAL)


def _folds_of(folds: Mapping[str, int], digests: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Fold of each digest; one that the plan does not name goes by its own first bits, the same on every machine."""
    unique, inverse = np.unique(digests, return_inverse=True)
    count = max(folds.values(), default=0) + 1
    placed = [folds.get(str(digest), int(str(digest)[:8], 16) % count) for digest in unique]
    return np.array(placed, dtype=np.int64)[inverse]


def _attack_class(flows: FlowBatch) -> npt.NDArray[np.int8]:
    if flows.labels is None:
        return np.full(len(flows), -1, dtype=np.int8)
    return flows.labels.attack_class


def describe_plan(plan: FoldPlan) -> dict[str, Any]:
    """What a report prints about the plan."""
    return {
        "sha256": plan.sha256,
        "folds": plan.count,
        "captures": dict(plan.captures),
        "benign_groups": dict(plan.groups),
        "classes_left_out": {attack_class.value: fold for attack_class, fold in plan.classes.items()},
        "ton_pairs": len(plan.ton_pairs),
        "ton_sources": len(plan.ton_sources),
        "lab_networks": LAB_RULE,
    }
