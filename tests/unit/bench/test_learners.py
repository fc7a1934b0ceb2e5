"""The learning baselines: they learn what is there, say nothing of classes that are not, and repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.learners import Boosting, BoostingSetting, Forest, Isolation
from thingwarden.bench.words import Examples
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES

STATE = FIELD_INDEX["conn_state"]


def _examples(count: int = 400, classes: tuple[int, ...] = (0, 1, 3)) -> Examples:
    random = np.random.default_rng(1)
    label = random.choice(classes, count)
    fields = random.integers(0, 8, size=(count, len(FIELD_NAMES))).astype(np.uint8)
    fields[:, STATE] = label + 1
    return Examples(fields=fields, history=np.zeros((count, 0), dtype=np.float32), label=label, weight=np.ones(count))


SETTING = BoostingSetting(leaves=7, least_hessian=1.0, rounds=20)


@pytest.mark.parametrize("make", [lambda: Boosting(SETTING), lambda: Forest(1)])
def test_a_field_that_tells_is_learned(make: object) -> None:
    examples = _examples()
    model = make()  # type: ignore[operator]
    model.fit(examples, 5, 0)
    said = model.predict(examples.fields, examples.history)
    assert said.shape == (len(examples), 5)
    assert (said.argmax(axis=1) == examples.label).mean() > 0.95
    assert not said[:, [2, 4]].any()
    assert said.sum(axis=1) == pytest.approx(np.ones(len(examples)))


@pytest.mark.parametrize("make", [lambda: Boosting(SETTING), lambda: Forest(1), lambda: Isolation(128)])
def test_a_seed_decides_everything(make: object) -> None:
    examples = _examples()
    said = []
    for _ in range(2):
        model = make()  # type: ignore[operator]
        model.fit(examples, 5, 7)
        said.append(model.predict(examples.fields, examples.history))
    np.testing.assert_array_equal(*said)


def test_boosting_with_one_class_says_that_class() -> None:
    examples = _examples(classes=(0,))
    model = Boosting(SETTING)
    model.fit(examples, 5, 0)
    assert (model.predict(examples.fields, examples.history)[:, 0] == 1.0).all()


def test_gain_names_the_field_that_tells() -> None:
    model = Boosting(SETTING)
    assert model.gain_ratios().size == 0
    model.fit(_examples(), 5, 0)
    gains = model.gain_ratios()
    assert gains.sum() == pytest.approx(1.0)
    assert gains.argmax() == STATE


def test_isolation_finds_what_is_unlike_the_benign_rows() -> None:
    examples = _examples(classes=(0,))
    model = Isolation(256)
    model.fit(examples, 5, 0)
    odd = np.full((1, len(FIELD_NAMES)), 90, dtype=np.uint8)
    usual = model.predict(examples.fields, examples.history)[:, 0].mean()
    assert model.predict(odd, np.zeros((1, 0), dtype=np.float32))[0, 0] < usual
