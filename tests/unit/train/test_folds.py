"""The fold plan: nothing on both sides, nothing tested on visible while fitting, every class where it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import TON_CLASSES, AttackClass
from thingwarden.ingest.lab_corpus import LabManifest
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import Capture, Corpus, LabCorpus, Part, constant_labels, list_captures, load_capture
from thingwarden.train.folds import (
    LAB_RULE,
    FoldPlan,
    fold_of_part,
    hash_pairs,
    hash_sources,
    load_plan,
    plan_ton,
    view_across,
    view_fold,
    view_random,
    view_without_classes,
)

FOLDS = 5
NORMAL_SOURCES = 10


@pytest.fixture(scope="module")
def real_plan(repository: Path) -> FoldPlan:
    return load_plan(repository / "recipes" / "folds.toml")


def _part(name: str, kind: str, attack_class: AttackClass) -> Part:
    capture = Capture(name=name, family="iot23", group=name, kind=kind, paths=())  # type: ignore[arg-type]
    flows = build_flows([FlowSpec(at_s=1.0), FlowSpec(at_s=2.0)])
    return Part(capture, replace(flows, labels=constant_labels(2, attack_class)))


def _table() -> FlowBatch:
    """Ten pairs of each of three types, two rows a pair."""
    specs, types = [], []
    for number in range(NORMAL_SOURCES):
        for kind, host in (("normal", 10), ("ddos", 40), ("scanning", 70)):
            for port in (80, 81):
                specs.append(FlowSpec(orig=f"10.0.0.{host + number}", resp="10.0.1.1", resp_port=port))
                types.append(TON_CLASSES.index(kind))
    ton_class = np.array(types, dtype=np.int8)
    count = len(specs)
    labels = Labels(
        malicious=(ton_class > 0).astype(np.int8),
        attack_class=np.where(ton_class == 0, 0, np.where(ton_class == 2, 4, 1)).astype(np.int8),
        ton_class=ton_class,
        detail=np.zeros(count, dtype="S48"),
    )
    return replace(build_flows(specs), labels=labels, is_timed=False)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    parts = [_part(f"bad-{number}", "attack", AttackClass.SCAN) for number in range(FOLDS)]
    parts += [_part(f"good-{number}", "benign", AttackClass.BENIGN) for number in range(FOLDS)]
    return Corpus(parts=tuple(parts), ton=_table())


@pytest.fixture(scope="module")
def plan(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> FoldPlan:
    folder = tmp_path_factory.mktemp("plan")
    captures = "\n".join(f'"bad-{number}" = {number}' for number in range(FOLDS))
    groups = "\n".join(f'"good-{number}" = {number}' for number in range(FOLDS))
    rest = '[classes]\nscan = 0\n[ton_iot]\nhashes = "h.tsv"\n'
    rest += f'[lab]\nfold = "{LAB_RULE}"\n'
    text = f"count = {FOLDS}\n[captures]\n{captures}\n[groups]\n{groups}\n{rest}"
    (folder / "folds.toml").write_text(text)
    (folder / "h.tsv").write_text(plan_ton(corpus.ton, FOLDS))
    return load_plan(folder / "folds.toml")


def _names(parts: tuple[Part, ...]) -> set[str]:
    return {part.capture.name for part in parts}


@pytest.mark.parametrize("fold", range(FOLDS))
def test_nothing_is_on_two_sides(plan: FoldPlan, corpus: Corpus, fold: int) -> None:
    view = view_fold(plan, corpus, fold)
    sides = [_names(view.train), _names(view.calibration), _names(view.test)]
    assert sides[2] == {f"bad-{fold}", f"good-{fold}"}
    assert sides[1] == {f"good-{(fold + 1) % FOLDS}"}
    assert sum(map(len, sides)) == len(set.union(*sides)) == 2 * FOLDS
    pairs, sources = hash_pairs(view.ton), hash_sources(view.ton)
    assert not set(pairs[view.ton_train]) & set(pairs[view.ton_test_pairs])
    normal = view.ton_train[corpus.ton.labels.ton_class[view.ton_train] == 0]  # type: ignore[union-attr]
    assert not set(sources[normal]) & set(sources[view.ton_test_sources])


def test_every_row_of_the_table_is_tested_once_by_pair_and_every_normal_row_once_by_source(
    plan: FoldPlan, corpus: Corpus
) -> None:
    views = [view_fold(plan, corpus, fold) for fold in range(FOLDS)]
    by_pair = np.sort(np.concatenate([view.ton_test_pairs for view in views]))
    by_source = np.concatenate([view.ton_test_sources for view in views])
    assert by_pair.tolist() == list(range(len(corpus.ton)))
    assert len(by_source) == 2 * NORMAL_SOURCES


def test_every_class_is_in_train_and_test_of_each_fold(plan: FoldPlan, corpus: Corpus) -> None:
    assert corpus.ton.labels is not None
    for fold in range(FOLDS):
        view = view_fold(plan, corpus, fold)
        for rows in (view.ton_train, view.ton_test_pairs):
            assert set(corpus.ton.labels.ton_class[rows].tolist()) == {0, 2, 8}


def test_a_blind_view_holds_nothing_that_is_tested_on(plan: FoldPlan, corpus: Corpus) -> None:
    view = view_fold(plan, corpus, 0)
    blind = view.blind()
    assert blind.test == () and len(blind.ton_test_pairs) == len(blind.ton_test_sources) == 0
    assert len(blind.ton) == len(blind.ton_train) == len(view.ton_train)
    tested = set(hash_pairs(view.ton)[view.ton_test_pairs])
    assert not set(hash_pairs(blind.ton)) & tested


def test_a_class_left_out_is_nowhere_in_training(plan: FoldPlan, corpus: Corpus) -> None:
    view = view_without_classes(plan, corpus, 0)
    scan = 1
    for part in view.train:
        assert part.flows.labels is not None and not (part.flows.labels.attack_class == scan).any()
    assert view.ton.labels is not None
    assert not (view.ton.labels.attack_class[view.ton_train] == scan).any()
    assert (view.ton.labels.attack_class[view.ton_test_pairs] == scan).all()
    assert _names(view.test) >= {f"bad-{number}" for number in range(FOLDS)}
    assert AttackClass.SCAN in view.absent and view.blind().absent == view.absent


@pytest.mark.parametrize("learns_ton", [True, False])
def test_across_sets_learns_attacks_of_one_set_only(plan: FoldPlan, corpus: Corpus, learns_ton: bool) -> None:
    view = view_across(plan, corpus, learns_ton=learns_ton)
    has_attacks = any(part.capture.kind == "attack" for part in view.train)
    assert has_attacks is not learns_ton
    assert (len(view.ton_train) > 0) is learns_ton
    assert (AttackClass.C2 in view.absent) is learns_ton
    assert not _names(view.train) & _names(view.test)


def test_the_random_split_leaks_pairs(plan: FoldPlan, corpus: Corpus) -> None:
    view = view_random(plan, corpus, seed=1)
    pairs = hash_pairs(view.ton)
    assert set(pairs[view.ton_train]) & set(pairs[view.ton_test_pairs])


def test_a_pair_has_one_hash_in_both_directions() -> None:
    flows = build_flows([FlowSpec(orig="10.0.0.1", resp="10.0.0.2"), FlowSpec(orig="10.0.0.2", resp="10.0.0.1")])
    pairs = hash_pairs(flows)
    assert pairs[0] == pairs[1] and len(pairs[0]) == 16
    assert len(set(hash_sources(flows))) == 2


@pytest.mark.parametrize("text", ["", "count = 5", "count = 'x"])
def test_a_broken_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "folds.toml").write_text(text)
    with pytest.raises(ConfigError, match="not a fold plan"):
        load_plan(tmp_path / "folds.toml")


def test_a_capture_that_the_plan_does_not_know_is_refused(plan: FoldPlan, corpus: Corpus) -> None:
    stranger = _part("new", "attack", AttackClass.SCAN)
    with pytest.raises(ConfigError, match="does not place new"):
        view_fold(plan, Corpus(parts=(*corpus.parts, stranger), ton=corpus.ton), 0)


def _network(number: int) -> Part:
    """Attacked where the number is even."""
    name, flows = f"net-{number:05d}", build_flows([FlowSpec(at_s=1.0), FlowSpec(at_s=2.0)])
    attacked = number % 2 == 0
    labels = constant_labels(2, AttackClass.SCAN if attacked else AttackClass.BENIGN)
    kind = "attack" if attacked else "benign"
    capture = Capture(name=name, family="lab", group=name, kind=kind, paths=())  # type: ignore[arg-type]
    return Part(capture, replace(flows, labels=labels))


@pytest.fixture(scope="module")
def with_lab(corpus: Corpus) -> Corpus:
    manifest = LabManifest(recipe_sha256="0" * 64, seed=0, networks=())
    parts = tuple(_network(number) for number in range(20))
    return replace(corpus, lab=LabCorpus(folder=Path(), sha256="", manifest=manifest, parts=parts))


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_simulated_network_is_held_out_by_its_number(plan: FoldPlan, with_lab: Corpus, fold: int) -> None:
    view = view_fold(plan, with_lab, fold)
    assert _names(view.lab_test) == {f"net-{number:05d}" for number in range(20) if number % FOLDS == fold}
    assert not _names(view.lab_test) & (_names(view.train) | _names(view.calibration))
    assert not any(name.startswith("net-") for name in _names(view.test))
    assert view.blind().lab_test == ()
    next_benign = {f"net-{number:05d}" for number in range(1, 20, 2) if number % FOLDS == (fold + 1) % FOLDS}
    assert not next_benign & _names(view.train)


def test_harmless_simulated_networks_of_the_next_fold_set_thresholds(plan: FoldPlan, with_lab: Corpus) -> None:
    lab = [part for part in view_fold(plan, with_lab, 0).calibration if part.capture.family == "lab"]
    assert lab and all(part.capture.kind == "benign" for part in lab)
    assert all(fold_of_part(plan, part) == 1 for part in lab)


def test_a_view_without_the_lab_is_tested_on_it_all_the_same(plan: FoldPlan, with_lab: Corpus) -> None:
    view = view_fold(plan, with_lab, 0)
    without = view.without_lab()
    assert not any(part.capture.family == "lab" for part in (*without.train, *without.calibration))
    assert without.lab_test == view.lab_test and _names(without.train) < _names(view.train)


def test_a_class_left_out_is_in_no_simulated_network_to_learn_from(plan: FoldPlan, with_lab: Corpus) -> None:
    view = view_without_classes(plan, with_lab, 0)
    assert any(part.capture.family == "lab" for part in view.train)
    for part in view.train:
        assert part.flows.labels is not None and not (part.flows.labels.attack_class == 1).any()
    assert not any(part.capture.family == "lab" for part in view.test) and view.lab_test


def test_across_sets_shows_no_simulated_attack_where_attacks_come_from_the_table(
    plan: FoldPlan, with_lab: Corpus
) -> None:
    for learns_ton in (True, False):
        view = view_across(plan, with_lab, learns_ton=learns_ton)
        attacks = {part.capture.name for part in view.train if part.capture.kind == "attack"}
        assert any(name.startswith("net-") for name in attacks) is not learns_ton
        assert not any(part.capture.family == "lab" for part in view.test)


def test_another_rule_for_simulated_networks_is_refused(tmp_path: Path, repository: Path) -> None:
    recipes = repository / "recipes"
    (tmp_path / "ton_pairs.tsv").write_bytes((recipes / "ton_pairs.tsv").read_bytes())
    text = (recipes / "folds.toml").read_text()
    (tmp_path / "folds.toml").write_text(text.replace(f'fold = "{LAB_RULE}"', 'fold = "by taste"'))
    with pytest.raises(ConfigError, match="fold must be"):
        load_plan(tmp_path / "folds.toml")


def test_benign_groups_go_round_robin_over_their_sorted_names(real_plan: FoldPlan) -> None:
    assert dict(real_plan.groups) == {name: number % 5 for number, name in enumerate(sorted(real_plan.groups))}


@pytest.mark.data
def test_the_plan_places_every_capture_and_pair(real_plan: FoldPlan, data_folder: Path, repository: Path) -> None:
    captures = list_captures(data_folder)
    assert {capture.name for capture in captures if capture.kind == "attack"} == set(real_plan.captures)
    assert {capture.group for capture in captures if capture.kind == "benign"} == set(real_plan.groups)
    (table,) = [load_capture(capture) for capture in captures if capture.kind == "table"]
    assert plan_ton(table, real_plan.count) == (repository / "recipes" / "ton_pairs.tsv").read_text()
