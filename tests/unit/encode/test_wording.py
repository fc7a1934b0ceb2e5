"""Every field and bucket has a text, made of the encoder's own edges, and every topic says what its fields say."""

from __future__ import annotations

import numpy as np
import pytest

from flow_builder import VOCABULARY
from thingwarden.domain.flow import CONN_STATES
from thingwarden.encode.vocabulary import (
    DIRECTIONS,
    FIELD_INDEX,
    FIELD_NAMES,
    GAP_EDGES_S,
    NAMED_PORTS,
    RARE,
    RATE_EDGES,
    Vocabulary,
)
from thingwarden.encode.word import edge_buckets
from thingwarden.encode.wording import PORT_NAMES, TOPICS, UNTOLD, Wording, topic_columns

WORDING = Wording(VOCABULARY)
SIZES = dict(zip(FIELD_NAMES, VOCABULARY.sizes, strict=True))


def word(**buckets: int) -> np.ndarray:
    made = np.zeros(len(FIELD_NAMES), dtype=np.uint8)
    for field, bucket in {"direction": DIRECTIONS.index("orig"), **buckets}.items():
        made[FIELD_INDEX[field]] = bucket
    return made


def rate_bucket(count: int) -> int:
    return int(edge_buckets(np.array([count]), RATE_EDGES)[0])


def gap_bucket(gap_s: float) -> int:
    return int(edge_buckets(np.array([gap_s]), GAP_EDGES_S)[0])


@pytest.mark.parametrize("field", FIELD_NAMES)
def test_every_bucket_of_every_field_has_a_text_of_its_own(field: str) -> None:
    texts = [WORDING.bucket_text(field, bucket) for bucket in range(SIZES[field])]
    assert texts[0] == "unknown"
    assert all(text.strip() == text and text.isprintable() for text in texts)
    assert all(texts), f"a bucket of {field} says nothing"
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("field", FIELD_NAMES)
def test_a_bucket_that_the_encoder_never_gives_is_refused(field: str) -> None:
    with pytest.raises(IndexError):
        WORDING.bucket_text(field, SIZES[field] + 300)


def test_every_field_belongs_to_one_topic() -> None:
    told = [field for fields in TOPICS.values() for field in fields]
    assert sorted([*told, *UNTOLD]) == sorted(FIELD_NAMES)
    assert all(FIELD_NAMES[column] in TOPICS[topic] for topic, columns in topic_columns().items() for column in columns)


def test_only_ports_with_a_bucket_have_a_name() -> None:
    assert set(PORT_NAMES) <= set(NAMED_PORTS)
    assert WORDING.bucket_text("resp_port", 1 + NAMED_PORTS.index(23)) == "port 23 (telnet)"


@pytest.mark.parametrize("count", [1, 2, 5, 12, 64, 126, 400])
def test_a_count_lies_within_what_its_bucket_says(count: int) -> None:
    text = WORDING.bucket_text("fanout_10s", rate_bucket(count))
    numbers = [int(part.replace(",", "")) for part in text.split(" new")[0].split(" to ") if part.isdigit()]
    low, high = (numbers[0], numbers[-1]) if numbers else (127, 10**9)
    assert low <= count <= high


def test_a_gap_is_told_in_the_edges_around_it() -> None:
    assert WORDING.bucket_text("channel_gap", gap_bucket(45.0)) == "30 s to 1 min after the last flow to this service"
    assert WORDING.bucket_text("device_gap", len(GAP_EDGES_S) + 2) == "the device's first word"


def test_a_scan_reads_as_one() -> None:
    scanning = word(fanout_1s=rate_bucket(20), fanout_10s=rate_bucket(70), fanout_60s=rate_bucket(70))
    assert WORDING.topic_text("breadth", scanning) == "reaches 65 to 126 new addresses within 10 s"
    quick = word(fanout_1s=rate_bucket(70), fanout_10s=rate_bucket(70), direction=DIRECTIONS.index("resp"))
    assert WORDING.topic_text("breadth", quick) == "is reached by 65 to 126 new addresses within 1 s"


def test_a_beat_reads_as_one_and_a_first_contact_does_not() -> None:
    beat = word(channel_gap=gap_bucket(45.0), regular_count=6)
    assert WORDING.topic_text("rhythm", beat) == "every 30 s to 1 min, evenly (9 to 16 even intervals in a row)"
    first = word(channel_gap=len(GAP_EDGES_S) + 2, regular_count=1, peer_gap=len(GAP_EDGES_S) + 2)
    assert WORDING.topic_text("rhythm", first) == (
        "the first flow to this service of this address, the first contact with this address"
    )


def test_an_outcome_reads_by_its_state_else_by_its_course() -> None:
    assert WORDING.topic_text("outcome", word(conn_state=CONN_STATES.index("S0"), history=RARE + 1)) == "no answer"
    assert WORDING.topic_text("outcome", word(history=RARE + 1)) == "the originator asks to connect"


def test_sizes_are_told_from_the_devices_side() -> None:
    sizes = {"orig_bytes": 2, "orig_packets": 2, "resp_bytes": 1}
    assert WORDING.topic_text("size", word(**sizes)) == "sends 1 to 8 bytes in 1 packet, receives no bytes"
    answered = WORDING.topic_text("size", word(**sizes, direction=DIRECTIONS.index("resp")))
    assert answered == "sends no bytes, receives 1 to 8 bytes in 1 packet"


def test_a_service_is_told_by_protocol_port_and_what_is_spoken() -> None:
    spoken = word(proto=1, resp_port=1 + NAMED_PORTS.index(80), service=RARE + 2)
    assert WORDING.topic_text("service", spoken) == "TCP port 80 (HTTP), speaks HTTP"


def test_a_masked_topic_says_nothing() -> None:
    empty = np.zeros(len(FIELD_NAMES), dtype=np.uint8)
    assert {WORDING.topic_text(topic, empty) for topic in TOPICS} == {""}


def test_any_buckets_of_a_topic_can_be_told() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        drawn = np.array([rng.integers(0, size) for size in VOCABULARY.sizes], dtype=np.uint8)
        for topic in TOPICS:
            assert WORDING.topic_text(topic, drawn).isprintable()


def test_tokens_come_from_training_alone() -> None:
    other = Wording(Vocabulary(services=(b"evil<b>",), histories=(b"S",)))
    assert other.bucket_text("service", RARE) == "an application protocol not met in training"
