"""The vocabulary: what it learns, how it travels, and whom it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flow_builder import VOCABULARY, random_flows
from thingwarden.domain.errors import ArtifactError
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import (
    FIELD_NAMES,
    LEARNED_LIMIT,
    RHYTHM_FIELDS,
    Vocabulary,
    collapse_history,
    collapse_service,
)
from thingwarden.testing import FlowSpec, build_flows


def test_a_vocabulary_survives_its_json() -> None:
    document = json.loads(json.dumps(VOCABULARY.to_json()))
    assert Vocabulary.from_json(document) == VOCABULARY


@pytest.mark.parametrize(
    "damage",
    [
        {"fields": {}},
        {"fields": {"kind": 3}},
        {"fields": ["kind"]},
        {"services": ["one more"]},
        {"services": 5},
        {"histories": [1]},
        {"histories": ["\u20ac", "S", "Sr", "Dd"]},
        {"services": None},
    ],
)
def test_one_made_for_other_fields_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="vocabulary") as refused:
        Vocabulary.from_json({**VOCABULARY.to_json(), **damage})
    assert refused.value.exit_code == 4


def test_an_empty_document_is_refused() -> None:
    with pytest.raises(ArtifactError):
        Vocabulary.from_json({})


def test_what_many_flows_show_is_learned_most_frequent_first() -> None:
    services = ["http"] * 5 + ["dns"] * 9 + ["ssh"] * 3 + ["http,ssl"] * 2 + ["ssl;http"] * 2
    flows = build_flows([FlowSpec(service=service) for service in services])
    assert Vocabulary.fit([flows], least_flows=4).services == (b"dns", b"http", b"http,ssl")


def test_no_more_is_learned_than_a_bucket_can_say() -> None:
    rng = np.random.default_rng(0)
    histories = np.array([bytes(rng.choice(list(b"ShADadFfRr"), 12)) for _ in range(1000)], dtype="S24")
    flows = replace(random_flows(0, 1000), history=histories)
    vocabulary = Vocabulary.fit([flows], least_flows=1)
    assert len(vocabulary.histories) == LEARNED_LIMIT
    assert max(vocabulary.sizes) <= 256


def test_versions_of_zeek_that_write_more_collapse_to_the_same_history() -> None:
    assert collapse_history(b"ShADTadtFfCcGgIiQq^-Ww") == b"ShADadFf"


def test_the_order_of_analysers_means_nothing() -> None:
    assert collapse_service(b"ssl,http") == collapse_service(b"http;ssl") == b"http,ssl"
    assert collapse_service(b"-") == b""


def test_no_bucket_of_a_word_lies_beyond_its_fields_size() -> None:
    (words,) = SentenceEncoder(VOCABULARY).encode(random_flows(11, 1000))
    assert (words.fields.max(axis=0) < np.array(VOCABULARY.sizes)).all()


def test_every_field_has_a_name_and_a_size_of_its_own() -> None:
    assert len(set(FIELD_NAMES)) == len(FIELD_NAMES) == len(VOCABULARY.sizes)
    assert RHYTHM_FIELDS[0] == "device_gap" and RHYTHM_FIELDS[-1] == "rate_10s"
