"""However the words are split, the verdicts and incidents are the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.detect.attribution import Question
from thingwarden.detect.correlate import CorrelationSettings, Correlator
from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

ADDRESSES = ["192.168.1.10", "192.168.1.11", "192.168.1.12"]
DEVICES = build_devices(ADDRESSES)
CALIBRATION = Calibration(alarm_level_nats=9.0, strange_alarm_nats=8.0, strange_nats=2.0)
"""Half of the scripted words are strange, so that either statistic alarms first."""
SETTINGS = CorrelationSettings(idle_s=120.0, resume_s=1000.0)

flow_specs = st.builds(
    FlowSpec,
    at_s=st.integers(0, 2000).map(float),
    duration_s=st.integers(0, 60).map(float),
    orig=st.sampled_from([*ADDRESSES, "198.51.100.7"]),
    resp=st.sampled_from([*ADDRESSES, "203.0.113.5", "203.0.113.6"]),
    resp_port=st.integers(20, 24),
    conn_state=st.sampled_from(["SF", "S0", "REJ", "RSTO"]),
)
judged_specs = st.tuples(flow_specs, st.sampled_from([0.0, 0.5, 0.95, 0.999, 1.0]), st.sampled_from(CLASSES[1:]))


def play(
    flows: FlowBatch, script: dict[int, tuple[float, AttackClass]], chunk_words: int
) -> tuple[list[IncidentChange], list[Incident], bytes, list[Question]]:
    correlator, scorer = Correlator(CALIBRATION, DEVICES, SETTINGS), ScriptedScorer(script)
    chunks = [(words, scorer.score(words)) for words in FlowWordEncoder(DEVICES).encode(flows, chunk_words)]
    changes, questions = [], []
    judge = FlowJudge(len(flows), CALIBRATION)
    for words, scores in chunks:
        judge.update(words, scores)
        changes += correlator.update(words, scores, flows)
        judge.accuse(correlator.accusations())
        questions += correlator.questions()
    verdicts = judge.verdicts()
    columns = (
        verdicts.malicious_probability,
        verdicts.is_malicious,
        verdicts.attack_class,
        verdicts.device,
        verdicts.role,
    )
    judged = b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
    return (
        changes,
        correlator.finish(flows),
        judged,
        sorted(questions, key=lambda question: (question.at, repr(question))),
    )


@settings(max_examples=60, deadline=None)
@given(judged=st.lists(judged_specs, min_size=1, max_size=60), chunk_words=st.integers(1, 40))
def test_chunks_change_nothing(judged: list[tuple[FlowSpec, float, AttackClass]], chunk_words: int) -> None:
    flows = build_flows([spec for spec, _, _ in judged])
    script = {row: (probability, attack_class) for row, (_, probability, attack_class) in enumerate(judged)}
    whole = play(flows, script, 10_000)
    parts = play(flows, script, chunk_words)
    told = [[change for change in changes if change.kind is not ChangeKind.ENDED] for changes, *_ in (whole, parts)]
    assert told[0] == told[1]
    assert parts[1] == whole[1]
    assert parts[2] == whole[2]
    assert parts[3] == whole[3]


def test_the_strategy_does_open_incidents() -> None:
    specs = [FlowSpec(at_s=row * 10.0, resp_port=23) for row in range(10)]
    changes, _, _, questions = play(build_flows(specs), dict.fromkeys(range(10), (0.999, CLASSES[1])), 7)
    assert [change.kind for change in changes[:2]] == [ChangeKind.OPENED, ChangeKind.GREW]
    assert [question.attack_class for question in questions] == [CLASSES[1]]
