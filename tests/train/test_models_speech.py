"""The speech encoder: padding changes nothing, on-rates leave it out; decoding and loss by hand; it learns."""

import importlib.util

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, SpeechEncoder, Wanda, ctc_loss, greedy_decode

SIZES = {"d_model": 16, "d_ff": 24, "n_layers": 2, "n_heads": 2}


def encoder(**settings):
    return SpeechEncoder(5, 4, **(SIZES | {"dropout": 0.0} | settings))


def batch(lengths=(23, 9, 40), behind=0):
    generator = torch.Generator().manual_seed(0)
    features = torch.zeros(len(lengths), max(lengths) + behind, 5)
    for i, n in enumerate(lengths):
        features[i, :n] = torch.randn(n, 5, generator=generator)
    targets = torch.tensor([[1, 2], [3, 0], [4, 4]])[: len(lengths)]
    return features, torch.tensor(lengths), targets, torch.tensor([2, 1, 2])[: len(lengths)]


def test_padding_changes_nothing():
    model = encoder().eval()
    features, n_frames, *_ = batch(behind=31)
    logits, n = model(features, n_frames)
    assert n.tolist() == [6, 3, 10]
    assert logits.shape == (3, 18, 5)
    for i, length in enumerate(n_frames.tolist()):
        alone, m = model(features[i : i + 1, :length], n_frames[i : i + 1])
        assert m.tolist() == [n[i]] == [alone.shape[1]]
        torch.testing.assert_close(logits[i, : n[i]], alone[0], atol=1e-5, rtol=1e-5)


def test_padding_that_is_not_zero_would_show():
    model = encoder().eval()
    features, n_frames, *_ = batch(behind=8)
    logits, n = model(features, n_frames)
    features[1, 9:] = 5.0
    changed, _ = model(features, n_frames)
    assert not torch.allclose(changed[1, : n[1]], logits[1, : n[1]], atol=1e-3)  # the control


def test_padding_is_in_no_on_rate_and_no_score():
    features, n_frames, targets, n_targets = batch(behind=31)
    model = encoder()
    pruner = BudgetedBroadcast(model, 0.5, layers=model.ffn_layers, interval=10, warmup=10)
    wanda = encoder()
    wanda.load_state_dict(model.state_dict())
    scorer = Wanda(wanda, 0.5, layers=wanda.ffn_layers, interval=10, warmup=10)
    for name in ("layers.0.ffn.lin1", "layers.1.ffn.lin1"):
        assert pruner.graph[name.replace("lin1", "lin2")].inputs == (name,)
    ctc_loss(model, (features, n_frames, targets, n_targets)).backward()
    ctc_loss(wanda, (features, n_frames, targets, n_targets)).backward()
    rates = pruner.on_rates()
    seen: dict[str, list[torch.Tensor]] = {"layers.0.ffn.lin1": [], "layers.1.ffn.lin1": []}
    for name, rows in seen.items():
        module = model.get_submodule(name)
        module.register_forward_hook(lambda m, x, out, rows=rows: rows.append(out.flatten(0, -2)))
    for i, length in enumerate(n_frames.tolist()):
        model(features[i : i + 1, :length], n_frames[i : i + 1])
    for name, rows in seen.items():
        alone = torch.cat(rows)
        assert len(alone) == 19
        torch.testing.assert_close(rates[name], (alone > 0).double().mean(0), atol=1e-9, rtol=0)
    assert float(pruner.activities["layers.0.ffn.lin1"].count) == 2 * 19
    pruner.remove()
    scorer.remove()


def test_only_the_feed_forward_parts_are_masked():
    model = encoder()
    assert model.ffn_layers == [f"layers.{i}.ffn.{lin}" for i in (0, 1) for lin in ("lin1", "lin2")]
    pruner = BudgetedBroadcast(model, 0.25, layers=model.ffn_layers, interval=1, allocation="layer")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        ctc_loss(model, batch()).backward()
        optimizer.step()
        pruner.step()
    pruner.finish()
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d)):
            kept = float((layer.weight != 0).float().mean())
            assert kept == (0.25 if name in model.ffn_layers else 1.0)


def test_the_loss_by_hand():
    class Fixed(nn.Module):
        def forward(self, features, n_frames):
            return logits, torch.tensor([2])

    logits = torch.log(torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.9, 0.05, 0.05]]]))
    one = torch.zeros(1, 3, 1), torch.tensor([3]), torch.tensor([[1]]), torch.tensor([1])
    # paths to "1" in two positions: 1 1, 1 -, - 1
    paths = 0.3 * 0.6 + 0.3 * 0.1 + 0.5 * 0.6
    torch.testing.assert_close(ctc_loss(Fixed(), one), -torch.log(torch.tensor(paths)))
    too_long = torch.zeros(1, 3, 1), torch.tensor([3]), torch.tensor([[1, 1, 1]]), torch.tensor([3])
    assert float(ctc_loss(Fixed(), too_long)) == 0.0


@pytest.mark.parametrize(
    ("path", "n", "expected"),
    [
        ([0, 0, 0], 3, []),
        ([1, 1, 1], 3, [1]),
        ([1, 0, 1], 3, [1, 1]),
        ([0, 2, 2, 0, 0, 3, 1, 1, 0], 9, [2, 3, 1]),
        ([1, 2, 3, 3], 2, [1, 2]),  # the rest is padding
    ],
)
def test_greedy_decoding(path, n, expected):
    logits = torch.nn.functional.one_hot(torch.tensor([path]), 4).float()
    assert greedy_decode(logits, torch.tensor([n])) == [expected]


def test_weights_follow_from_the_seed_alone():
    state = torch.random.get_rng_state()
    one, again, other = encoder(seed=1), encoder(seed=1), encoder(seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    for a, b in zip(one.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)
    big = SpeechEncoder(80, 28)
    assert (
        sum(p.numel() for n, p in big.named_parameters() if ".ffn." in n and p.dim() == 2)
        == 4 * 2 * 384 * 1536
    )


def test_it_learns_one_batch():
    torch.manual_seed(0)
    model, data = encoder(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        ctc_loss(model, data).backward()
        optimizer.step()
    model.eval()
    assert greedy_decode(*model(*data[:2])) == [[1, 2], [3], [4, 4]]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"d_model": 15, "n_heads": 3}, "d_model must be even and a multiple of n_heads=3, got 15"),
        ({"n_heads": 3}, "d_model must be even and a multiple"),
        ({"n_layers": 0}, "n_layers must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"d_ff": 0}, "d_ff must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_input(settings, match):
    with pytest.raises(ValueError, match=match):
        encoder(**settings)


def test_bad_sizes():
    with pytest.raises(ValueError, match="n_mels must be"):
        SpeechEncoder(0, 4)
    with pytest.raises(ValueError, match="n_symbols must be"):
        SpeechEncoder(4, 0)
