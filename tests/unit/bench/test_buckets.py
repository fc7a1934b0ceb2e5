"""Buckets in words: every bucket of every field has a name of its own, and it is the right one."""

from __future__ import annotations

import pytest

from thingwarden.bench.buckets import name_bucket, name_word
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary

VOCABULARY = Vocabulary(services=(b"dns", b"http"), histories=(b"S", b"ShADadFf"))


@pytest.mark.parametrize("field", FIELD_NAMES)
def test_every_bucket_has_a_name_of_its_own(field: str) -> None:
    size = VOCABULARY.sizes[FIELD_INDEX[field]]
    names = [name_bucket(field, bucket, VOCABULARY) for bucket in range(size)]
    assert len(set(names)) == size
    assert names[0] == "none"
    with pytest.raises(ValueError, match=field):
        name_bucket(field, size, VOCABULARY)


@pytest.mark.parametrize(
    ("field", "bucket", "name"),
    [
        ("conn_state", 3, "SF"),
        ("resp_port", 1, "7"),
        ("service", 1, "rare"),
        ("service", 3, "http"),
        ("history", 3, "ShADadFf"),
        ("duration", 1, "below 0.0005"),
        ("duration", 2, "from 0.0005"),
        ("channel_gap", 18, "none yet"),
    ],
)
def test_names(field: str, bucket: int, name: str) -> None:
    assert name_bucket(field, bucket, VOCABULARY) == name


def test_a_word_leaves_out_what_it_does_not_have() -> None:
    buckets = [0] * len(FIELD_NAMES)
    buckets[FIELD_INDEX["proto"]], buckets[FIELD_INDEX["conn_state"]] = 1, 1
    assert name_word(buckets, VOCABULARY) == "proto tcp, conn_state S0"
