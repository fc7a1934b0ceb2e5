"""Labels map to classes by what a flow shows."""

from __future__ import annotations

import pytest

from thingwarden.domain.taxonomy import (
    CLASS_INDEX,
    CLASSES,
    TECHNIQUES,
    TON_CLASSES,
    AttackClass,
    class_from_detail,
    class_from_ton,
)


def test_benign_is_the_first_class() -> None:
    assert CLASSES[0] is AttackClass.BENIGN
    assert [CLASS_INDEX[attack_class] for attack_class in CLASSES] == list(range(len(CLASSES)))


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("C&C-HeartBeat", AttackClass.C2),
        ("C&C-FileDownload", AttackClass.DOWNLOAD),
        ("C&C-HeartBeat-FileDownload", AttackClass.DOWNLOAD),
        ("PartOfAHorizontalPortScan", AttackClass.SCAN),
        ("C&C-PartOfAHorizontalPortScan", AttackClass.SCAN),
        ("Okiru-Attack", AttackClass.SCAN),
        ("DDoS", AttackClass.DDOS),
        ("Attack", AttackClass.BRUTE_FORCE),
        ("-", AttackClass.UNKNOWN),
    ],
)
def test_stratosphere_labels_go_by_their_last_act(detail: str, expected: AttackClass) -> None:
    assert class_from_detail(True, detail) is expected


@pytest.mark.parametrize("attack_class", [one for one in AttackClass if one is not AttackClass.BENIGN])
def test_the_labs_labels_name_their_class(attack_class: AttackClass) -> None:
    assert class_from_detail(True, f"{attack_class.value}:scan_slow-1") is attack_class
    assert class_from_detail(False, f"{attack_class.value}:scan_slow-1") is AttackClass.BENIGN


def test_a_benign_row_is_benign_whatever_its_detail_says() -> None:
    assert class_from_detail(False, "C&C") is AttackClass.BENIGN


def test_every_ton_class_has_a_class_of_the_product() -> None:
    assert all(class_from_ton(name) is not AttackClass.UNKNOWN for name in TON_CLASSES)
    assert class_from_ton(" Normal ") is AttackClass.BENIGN
    assert class_from_ton("nonsense") is AttackClass.UNKNOWN


def test_every_attack_names_its_techniques() -> None:
    assert set(CLASSES) - set(TECHNIQUES) == {AttackClass.BENIGN, AttackClass.UNKNOWN}
