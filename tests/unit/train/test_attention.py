"""Windowed attention: as many words back as it says, by distance alone, the same in parts as in one."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from thingwarden.train.attention import AttentionLayer, AttentionReader  # noqa: E402

WIDTH, WINDOW = 12, 5


def build_reader(layers: int = 1) -> AttentionReader:
    torch.manual_seed(0)
    return AttentionReader(WIDTH, layers=layers, head_count=3, head_width=4, window_words=WINDOW).eval()


def silence(reader: AttentionReader, batch: int = 1) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(batch, *shape) for shape in reader.memory_shapes())


def words(count: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, count, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_word_is_felt_as_far_as_the_windows_of_all_layers_reach(layers: int) -> None:
    reader, x = build_reader(layers), words(20)
    altered = x.clone()
    altered[:, 2] += 1.0
    one, two = (reader(part, silence(reader)).known[0] for part in (x, altered))
    moved = (one - two).abs().amax(dim=-1) > 1e-6
    last = 2 + layers * WINDOW
    assert moved[2 : last + 1].all() and not moved[:2].any() and not moved[last + 1 :].any()


def test_a_place_in_the_sentence_means_nothing() -> None:
    reader, x = build_reader(2), words(40)
    whole, late = reader(x, silence(reader)).known, reader(x[:, 17:], silence(reader)).known
    torch.testing.assert_close(late[:, 2 * WINDOW :], whole[:, 17 + 2 * WINDOW :], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_parts_are_read_as_the_whole(cut: int) -> None:
    reader, x = build_reader(2), words(12, batch=2)
    whole = reader(x, silence(reader, 2))
    first = reader(x[:, :cut], silence(reader, 2))
    rest = reader(x[:, cut:], first.memory)
    torch.testing.assert_close(torch.cat([first.known, rest.known], dim=1), whole.known, atol=1e-5, rtol=1e-5)
    for one, other in zip(rest.memory, whole.memory, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_band_lets_through_a_window_and_prefers_what_is_near() -> None:
    layer = AttentionLayer(WIDTH, head_count=2, head_width=4, window_words=WINDOW)
    band = layer.band(3)
    assert band.shape == (2, 3, WINDOW + 3)
    open_places = torch.isfinite(band)
    for word in range(3):
        assert open_places[:, word].nonzero()[:, 1].unique().tolist() == list(range(word, word + WINDOW + 1))
        nearest_last = band[:, word, word : word + WINDOW + 1]
        assert (nearest_last.diff(dim=-1) > 0).all() and not nearest_last[:, -1].any()


def test_memory_is_the_window_of_every_layer() -> None:
    reader = build_reader(2)
    assert reader.memory_shapes() == ((WINDOW, 8), (WINDOW, 8))
    memory = reader(words(3), silence(reader)).memory
    for part in memory:
        assert part.shape == (1, WINDOW, 8)
        assert not part[:, :2].any() and part[:, 2:].any(dim=-1).all()


def test_the_memory_after_any_word_is_told_from_the_trail() -> None:
    reader, x = build_reader(2), words(9, batch=2)
    start = reader(words(4, seed=3, batch=2), silence(reader, 2)).memory
    trail = reader(x, start).trail
    lane, after = torch.tensor([1, 0, 1]), torch.tensor([0, 4, 8])
    found = reader.memory_at(trail, lane, after)
    for place in range(3):
        upto = reader(x[:, : int(after[place]) + 1], start).memory
        for one, other in zip(found, upto, strict=True):
            torch.testing.assert_close(one[place], other[lane[place]], atol=1e-5, rtol=1e-5)
