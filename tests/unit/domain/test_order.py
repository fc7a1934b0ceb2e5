"""Only a holder of the key makes orders, each once, on its own channel."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingwarden.domain.errors import RequestError
from thingwarden.domain.order import Order, OrderVerb, open_order, seal_order, sign_decision, verify_decision
from thingwarden.domain.plan import canonical_json, encode_decision
from thingwarden.testing import build_decision

KEY, OTHER_KEY = bytes(range(32)), bytes(32)


def _order(verb: OrderVerb = OrderVerb.APPLY, number: int = 1) -> Order:
    needs_decision = verb in (OrderVerb.APPLY, OrderVerb.REVOKE)
    return Order(verb=verb, decision=build_decision() if needs_decision else None, challenge="c", number=number)


@pytest.mark.parametrize("verb", OrderVerb)
def test_an_order_is_opened_as_it_was_sealed(verb: OrderVerb) -> None:
    assert open_order(seal_order(_order(verb), KEY), KEY, "c", above=0) == _order(verb)


@pytest.mark.parametrize(
    ("key", "challenge", "above", "why"),
    [(OTHER_KEY, "c", 0, "seal"), (KEY, "d", 0, "another channel"), (KEY, "c", 1, "given before")],
)
def test_forged_foreign_and_repeated_orders_are_refused(key: bytes, challenge: str, above: int, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        open_order(seal_order(_order(), KEY), key, challenge, above)


@given(st.data())
def test_no_changed_byte_is_accepted(data: st.DataObject) -> None:
    sealed = bytearray(seal_order(_order(), KEY))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RequestError):
        open_order(bytes(sealed), KEY, "c", above=0)


@given(st.binary() | st.text().map(lambda text: json.dumps({"order": {}, "seal": text}).encode()))
def test_rubbish_is_refused(sealed: bytes) -> None:
    with pytest.raises(RequestError):
        open_order(sealed, KEY, "c", above=0)


def _change(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "act": "isolate", "target": {"device": data["target"]["device"]}}


def test_a_stored_decision_holds_only_with_its_signature() -> None:
    decision = build_decision()
    data, signature = encode_decision(decision), sign_decision(decision, KEY)
    assert verify_decision(data, signature, KEY) == decision
    for wrong in (
        (_change(data), signature, KEY),
        (data, "0" * 64, KEY),
        (data, "é", KEY),
        (data, signature, OTHER_KEY),
    ):
        with pytest.raises(RequestError, match="signature"):
            verify_decision(*wrong)


def test_a_seal_is_no_signature() -> None:
    order = _order()
    seal = json.loads(seal_order(order, KEY))["seal"]
    with pytest.raises(RequestError):
        verify_decision(encode_decision(build_decision()), seal, KEY)
    assert canonical_json(encode_decision(build_decision()))


def test_reading_orders_needs_the_standard_library_alone() -> None:
    code = "import sys, thingwarden.domain.order; sys.exit('numpy' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
