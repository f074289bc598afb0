"""Traffic in attention: by hand where attention is even, masked tokens, cut outputs, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import Pruner, measure_attention
from small_models import Attention, batch


def test_even_attention_by_hand():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.zero_()  # all scores equal
    valid = torch.tensor([[True, True, True, False], [True, False, False, False]])
    found = measure_attention(attention, batch(0, 2, 4, 8), valid=valid)
    # three queries see three tokens, one sees one: token 0 gets (3 * 1/3 + 1)/4
    assert found.on_rate == pytest.approx([0.5, 0.25, 0.25, 0.0] * 2)
    assert found.n_queries == 4
    assert found.head_fan_out.tolist() == [32, 32]
    assert found.traffic == pytest.approx(found.on_rate * 32)
    assert found.real.tolist() == [True, True, True, False] * 2
    # a_h = 1/4 + 2/16
    assert found.head_on_rate == pytest.approx([3 / 8] * 2)
    assert found.head_log_odds == pytest.approx([np.log(5 / 3)] * 2)


def test_cut_outputs_lower_a_head_and_attention_sums_to_one():
    model = Attention()
    pruner = Pruner(model, 0.3, layers=["attention.out_proj"])
    pruner.refresh()
    model.train()
    found = measure_attention(model.attention, batch(0, 3, 5, 16))
    assert model.attention.training
    assert found.on_rate.reshape(4, 5).sum(1) == pytest.approx(np.ones(4))
    kept = pruner.weights["attention.out_proj"].mask.sum(0).reshape(4, 4).sum(1)
    assert found.head_fan_out.tolist() == kept.tolist()
    assert found.traffic.reshape(4, 5).sum(1) == pytest.approx(kept.numpy().astype(float))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Linear(2, 2), torch.zeros(1, 2, 2)), "attention must be"),
        ((nn.MultiheadAttention(4, 2), torch.zeros(2, 4)), "query must have 3 axes"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_attention(*arguments)
    with pytest.raises(ValueError, match="valid"):
        measure_attention(
            nn.MultiheadAttention(4, 2, batch_first=True),
            torch.zeros(1, 2, 4),
            valid=torch.zeros(1, 2).bool(),
        )
