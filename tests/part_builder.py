"""Recipes of a few steps and captures of sketched behaviours, for the tests of train.

In: a seed. Out: ``Recipe`` and ``Part``.
Must never: need torch or the public captures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thingwarden.domain.flow import FlowBatch
from thingwarden.train.corpus import Capture, Part
from thingwarden.train.recipe import Recipe
from thingwarden.train.sketch import sketch


def build_recipe(**changes: Any) -> Recipe:
    """A recipe of a few steps."""
    values: dict[str, Any] = {
        "name": "tiny", "width": 12, "state_width": 16, "pretrain_rounds": 1, "finetune_rounds": 1,
        "sentences_per_round": 6, "graft_share": 0.5, "malicious_graft_share": 0.5, "sketch_share": 0.5, "lanes": 3,
        "lab_native_share": 0.5, "lab_history_share": 0.5, "lab_segment_share": 0.5,
        "lane_words": 32, "table_rows_per_step": 12, "learning_rate": 0.01, "pattern_exponent": 0.6,
        "pretrain_weight": 0.2, "reader": {"architecture": "recurrent"}, "teachers": (), "distil_share": 0.0,
        "field_masking": {"history": 0.3}, "other_masking": 0.02,
    }  # fmt: skip
    return Recipe.model_validate({**values, **changes})


def sketched_part(name: str, seed: int, count: int = 6) -> Part:
    """A capture of sketched behaviours of one host, one after the other; benign where the name begins so."""
    rng = np.random.default_rng(seed)
    is_benign = name.startswith("benign")
    lives = [sketch(rng, malicious=not is_benign and turn % 2 == 1) for turn in range(count)]
    flows = FlowBatch.concatenate([life.flows.take(np.arange(min(len(life), 60))) for life in lives])
    flows = flows.take(np.argsort(flows.started_at_s, kind="stable"))
    kind = "benign" if is_benign else "attack"
    capture = Capture(name=name, family="iot23", group=name, kind=kind, paths=())  # type: ignore[arg-type]
    return Part(capture, flows)
