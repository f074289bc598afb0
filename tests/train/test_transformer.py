import importlib.util
from dataclasses import replace

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.train import (
    OLMO_1B,
    BudgetedBroadcast,
    Transformer,
    TransformerShape,
    measure_model,
    transformer,
)

SMALL = TransformerShape(vocabulary=11, width=16, depth=2, heads=2, ffn=24, context=12)
ROUNDING = {"atol": 1e-5, "rtol": 1e-4}  # float32 sums in another order


def codes(n=9, batch=3):
    return torch.randint(0, 11, (batch, n), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_tracing_finds_the_feed_forward_layers(activation):
    shape = replace(SMALL, activation=activation)
    model = transformer(shape)
    pruner = BudgetedBroadcast(model, 0.5, layers=shape.ffn_layers, sp_out=True, allocation="layer", beta=1.0)
    hidden = ("gate", "up") if activation == "swiglu" else ("up",)
    for i in range(2):
        assert set(pruner.graph[f"blocks.{i}.ffn.down"].inputs) == {f"blocks.{i}.ffn.{h}" for h in hidden}
        for h in hidden:
            site = pruner.graph[f"blocks.{i}.ffn.{h}"].site
            assert site.module is model.blocks[i].ffn.activation
    on = []
    model.blocks[0].ffn.activation.register_forward_hook(lambda m, x, y: on.append((x[0] > 0).double()))
    model(codes())
    pruner.step()
    rate = pruner.on_rates()[shape.hidden_layers[0]]
    torch.testing.assert_close(rate, on[0].flatten(0, 1).mean(0))
    pruner.finish()
    assert measure_model(model, [codes()]).on_rate.size == 2 * len(hidden) * 24


def test_a_decoder_does_not_see_what_follows():
    model = transformer(SMALL)
    x = codes()
    later = x.clone()
    later[:, 5] = (x[:, 5] + 1) % 11
    got, changed = model(x), model(later)
    torch.testing.assert_close(got[:, :5], changed[:, :5])
    assert (got[:, 5:] - changed[:, 5:]).abs().amax((0, 2)).min() > 0
    encoder = transformer(replace(SMALL, causal=False))
    assert (encoder(x) - encoder(later))[:, :5].abs().amax() > 0


def test_padding_is_not_seen():
    encoder = transformer(replace(SMALL, causal=False))
    x = codes()
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, 6:] = False
    torch.testing.assert_close(encoder(x, valid)[:, :6], encoder(x[:, :6]), **ROUNDING)


def test_kept_keys_by_hand():
    model = transformer(SMALL)
    x = codes()
    attention = model.blocks[0].attention
    whole = model(x)
    attention.kept = torch.ones(2, 12, dtype=torch.bool)
    torch.testing.assert_close(model(x), whole, **ROUNDING)
    states = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    attention.kept = torch.zeros(2, 12, dtype=torch.bool)
    attention.kept[0, 0] = True  # head 0 sees the token itself, head 1 the one before too
    attention.kept[1, :2] = True
    query, key, value = attention.split(states)
    parts = [value[0, 0]]
    score = (query[0, 1] @ key[0, 1].T) / 8**0.5
    rows = [value[0, 1, 0]]
    for i in range(1, 4):
        weight = torch.softmax(score[i, i - 1 : i + 1], 0)
        rows.append(weight @ value[0, 1, i - 1 : i + 1])
    parts.append(torch.stack(rows))
    want = attention.output(torch.cat(parts, 1))
    torch.testing.assert_close(attention(states)[0], want, **ROUNDING)


def test_positions_are_relative():
    attention = transformer(SMALL).blocks[0].attention
    states = torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(1))
    query, key, _ = attention.split(states)
    moved_query, moved_key, _ = attention.split(torch.roll(states, 3, 1))
    here = query[0, 0, 5] @ key[0, 0, 2]
    torch.testing.assert_close(moved_query[0, 0, 8] @ moved_key[0, 0, 5], here, **ROUNDING)


def test_seeds_and_names():
    before = torch.get_rng_state()
    model, again, other = transformer(SMALL), transformer(SMALL), transformer(SMALL, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.embedding.weight, other.embedding.weight)
    assert model.head.weight is model.embedding.weight
    assert set(SMALL.ffn_layers) <= {name for name, _ in model.named_modules()}
    assert model(codes()).shape == (3, 9, 11)


def test_the_large_shape_has_its_size():
    with torch.device("meta"):
        model = Transformer(OLMO_1B)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1.177e9, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 18, "heads": 4}, "width must be a multiple of 2 heads = 8, got 18"),
        ({"activation": "relu"}, "activation must be one of swiglu, gelu"),
        ({"dropout": 1.0}, "dropout must be"),
        *(
            ({name: 0}, f"{name} must be")
            for name in ("vocabulary", "width", "depth", "heads", "ffn", "context")
        ),
    ],
)
def test_bad_input(change, match):
    with pytest.raises(ValueError, match=match):
        replace(SMALL, **change)


def test_bad_model():
    with pytest.raises(ValueError, match="shape must be"):
        transformer(3)
    with pytest.raises(ValueError, match="seed must be"):
        transformer(SMALL, seed=-1)
