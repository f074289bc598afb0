"""Keys kept by each head: both rules by hand, ties, padding, the masks that attention takes, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bbtheory.train import AttentionTraffic, TokenBudget, budget_tokens, measure_attention
from small_models import batch

RATES = [
    [0.5, 0.25, 0.25, 0.0],  # a_h = 3/8
    [1.0, 0.0, 0.0, 0.0],  # a_h = 1
    [0.25, 0.25, 0.25, 0.25],  # a_h = 1/4
]


def measured(rates=RATES, fan_out=(8, 4, 16), real=None):
    rates = np.array(rates)
    n_heads, n_tokens = rates.shape
    return AttentionTraffic(
        n_heads=n_heads,
        n_queries=10,
        head=np.repeat(np.arange(n_heads), n_tokens),
        token=np.tile(np.arange(n_tokens), n_heads),
        on_rate=rates.reshape(-1),
        fan_out=np.repeat(fan_out, n_tokens),
        real=np.tile(np.ones(n_tokens, bool) if real is None else real, n_heads),
    )


def test_threshold_by_hand():
    # traffic 4 2 2 0 | 4 0 0 0 | 4 4 4 4: no key of the last head is within 2, its first one stays
    found = budget_tokens(measured(), tau=2.0)
    assert found.rule == "threshold"
    assert found.mask.tolist() == [
        [False, True, True, True],
        [False, True, True, True],
        [True, False, False, False],
    ]
    assert found.n_keys.tolist() == [3, 3, 1]
    assert found.attention_kept == pytest.approx([0.5, 0.0, 0.25])
    assert np.isnan(found.target).all()
    assert budget_tokens(measured(), tau=4.0).mask.all()


def test_balance_by_hand():
    # n = d0 + L(a_h)/beta: 1 + ln(5/3)/beta, -inf, 1 + ln(3)/beta
    beta = np.log(3.0)
    found = budget_tokens(measured(), beta=beta, d0=1.0)
    assert found.target == pytest.approx([1 + np.log(5 / 3) / beta, 1.0, 2.0])
    assert found.mask.tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [True, True, False, False],  # of equals the first
    ]
    wide = budget_tokens(measured(), beta=0.01, d0=1.0)  # clipped to all keys
    assert wide.n_keys.tolist() == [4, 1, 4]


def test_the_two_rules_differ():
    """Negative control: one keeps the most attended keys, the other lets them go."""
    rates = [[0.7, 0.2, 0.1]]
    by_tau = budget_tokens(measured(rates, [10]), tau=2.0).mask
    by_balance = budget_tokens(measured(rates, [10]), beta=1.0, d0=1.0).mask
    assert by_tau.tolist() == [[False, True, True]]
    assert by_balance.tolist() == [[True, False, False]]


def test_padding_is_never_kept():
    data = measured(real=[False, True, True, False])
    padded = ~data.real
    assert not budget_tokens(data, tau=100.0, always=[3]).kept[padded].any()
    assert budget_tokens(data, tau=1.0).n_keys.tolist() == [1, 2, 1]
    wide = budget_tokens(data, beta=0.001, d0=4.0)
    assert wide.n_keys.tolist() == [2, 1, 2]
    assert not wide.kept[padded].any()


def test_always():
    found = budget_tokens(measured(), tau=2.0, always=[0])
    assert found.mask[:, 0].all()
    assert found.n_keys.tolist() == [4, 4, 1]


def test_attention_under_the_mask():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = batch(0, 3, 5, 8)
    valid = torch.ones(3, 5, dtype=torch.bool)
    valid[1, 3:] = False
    before = measure_attention(attention, x, valid=valid)
    budget = budget_tokens(before, beta=2.0, d0=1.0)
    assert 0 < budget.mask.sum() < 10
    mask = budget.attn_mask(5, valid)
    after = measure_attention(attention, x, valid=valid, attn_mask=mask)
    assert not after.on_rate[~budget.kept].any()
    assert after.on_rate[budget.kept].all()
    # the same through scaled_dot_product_attention, values = one-hot keys
    allowed = ~mask.unflatten(0, (-1, 2)) & valid[:, None, None]
    eye = torch.eye(5).expand(3, 2, 5, 5)
    weights = nn.functional.scaled_dot_product_attention(
        torch.zeros(3, 2, 5, 4), torch.zeros(3, 2, 5, 4), eye, attn_mask=allowed
    )
    assert torch.equal(weights > 0, allowed)


def test_a_sequence_without_its_keys_keeps_all_real_ones():
    budget = budget_tokens(measured([[0.6, 0.3, 0.1]], [10]), beta=1.0, d0=0.0)
    assert budget.mask.tolist() == [[True, False, False]]
    valid = torch.tensor([[True, True, True], [False, True, True]])
    assert budget.attn_mask(1, valid).tolist() == [[[False, True, True]], [[True, False, False]]]


def test_round_trip(tmp_path):
    found = budget_tokens(measured(), tau=2.0)
    found.save(tmp_path / "budget.json")
    again = TokenBudget.load(tmp_path / "budget.json")
    assert np.array_equal(again.mask, found.mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of tau or beta"),
        ({"tau": 1.0, "beta": 1.0, "d0": 1.0}, "exactly one of tau or beta"),
        ({"tau": 0.0}, "tau must"),
        ({"tau": 1.0, "d0": 1.0}, "d0 must be given with beta"),
        ({"beta": 1.0}, "d0 must be given with beta"),
        ({"beta": 0.0, "d0": 1.0}, "beta must"),
        ({"beta": 1.0, "d0": float("nan")}, "d0 must"),
        ({"tau": 1.0, "always": [4]}, "always must"),
        ({"tau": 1.0, "always": [-1]}, "always must"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        budget_tokens(measured(), **arguments)


def test_bad_mask():
    budget = budget_tokens(measured(), tau=2.0)
    with pytest.raises(ValueError, match="measured must be"):
        budget_tokens(budget, tau=1.0)
    for n, valid, message in (
        (0, torch.ones(1, 4, dtype=torch.bool), "n_queries must"),
        (1, torch.ones(1, 3, dtype=torch.bool), "valid must be bool"),
        (1, torch.ones(1, 4), "valid must be bool"),
    ):
        with pytest.raises(ValueError, match=message):
            budget.attn_mask(n, valid)
