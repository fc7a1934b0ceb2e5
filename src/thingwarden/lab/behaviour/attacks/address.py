"""Which addresses an attack asks: all of its targets, or a drawn part of prefixes too wide to ask wholly.

In: addresses and prefixes, text. Out: addresses inside them.
Must never: leave the given targets, or list a prefix that does not fit in memory.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

LISTED: Final = 4096
"""A set of at most so many addresses is asked without asking any twice."""


def draw_addresses(
    targets: Sequence[str], rng: random.Random, count: int, *, is_ordered: bool = False
) -> Iterator[str]:
    """At most ``count`` addresses of ``targets``; of a small set each at most once.

    Args:
        targets: addresses and prefixes; none gives nothing.
        rng: decides which and in what order.
        count: how many at most.
        is_ordered: ascending within each target, all of one before the next.
    """
    networks = [ipaddress.ip_network(target, strict=False) for target in targets]
    if is_ordered or sum(network.num_addresses for network in networks) <= LISTED:
        listed = [str(address) for network in networks for address in islice(network.hosts(), LISTED)]
        if not is_ordered:
            rng.shuffle(listed)
        yield from listed[:count]
        return
    weights = [min(network.num_addresses, 2**32) for network in networks]
    for network in rng.choices(networks, weights, k=count):
        yield str(network[rng.randrange(network.num_addresses)])
