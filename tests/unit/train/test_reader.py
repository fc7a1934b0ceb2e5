"""The recurrent reader keeps one state and goes on from it; the activation is what its name says."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from thingwarden.train.reader import RecurrentReader, squared_relu  # noqa: E402


def test_a_recurrent_state_has_one_size_and_is_gone_on_from() -> None:
    torch.manual_seed(0)
    reader, x = RecurrentReader(6, 10), torch.randn(2, 9, 6)
    assert reader.memory_shapes() == ((10,),) and reader.read_width == 10
    blank = (torch.zeros(2, 10),)
    whole = reader(x, blank)
    first = reader(x[:, :4], blank)
    rest = reader(x[:, 4:], first.memory)
    torch.testing.assert_close(torch.cat([first.known, rest.known], dim=1), whole.known)
    torch.testing.assert_close(whole.memory[0], whole.known[:, -1])
    (at,) = reader.memory_at(whole.trail, torch.tensor([1, 0]), torch.tensor([3, 8]))
    torch.testing.assert_close(at, torch.stack([first.memory[0][1], whole.memory[0][0]]))


def test_squared_relu_is_zero_below_zero() -> None:
    assert squared_relu(torch.tensor([-2.0, 0.0, 3.0])).tolist() == [0.0, 0.0, 9.0]
