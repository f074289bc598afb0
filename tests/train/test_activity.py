"""On-rates: what counts as on, where it is seen, that it is counted once, and that counting costs no recompile."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bbtheory.train import Activity, BudgetedBroadcast
from bbtheory.train.activity import Padding, decay
from bbtheory.train.layers import Site, find_layers
from bbtheory.train.tracing import trace_layers
from small_models import Attention, ConvNet, batch, mlp


def watched(module, n_units, unit_dim=-1, **settings):
    activity = Activity(Site(module, "output"), n_units, unit_dim, **settings)
    activity.attach()
    return activity


@pytest.mark.parametrize(
    ("module", "on"),
    [
        (nn.ReLU(), lambda x: x > 0),
        (nn.ReLU(inplace=True), lambda x: x > 0),
        (nn.GELU(), lambda x: x > 0),
        (nn.SiLU(), lambda x: x > 0),
        (nn.LeakyReLU(), lambda x: x > 0),
        (nn.Tanh(), lambda x: x > 0),
    ],
)
def test_positive(module, on):
    activity = watched(module, 7)
    x = batch(0, 50, 7)
    expected = on(x.clone()).double().mean(0)
    module(x)
    assert torch.equal(activity.total / activity.count, expected)


def test_threshold_and_soft():
    x = batch(0, 50, 7)
    for on, expected in (
        ("threshold", (x.abs() > 0.5).double().mean(0)),
        ("soft", torch.sigmoid(x.double() / 0.5).mean(0)),
    ):
        module = nn.Identity()
        activity = watched(module, 7, on=on, scale=0.5)
        module(x)
        torch.testing.assert_close(
            activity.total / activity.count, expected, rtol=1e-6, atol=0
        )  # float32 sums


def test_half_precision_counts_are_exact():
    """More events than half precision can count."""
    module = nn.ReLU()
    activity = watched(module, 2)
    module(torch.ones(70_001, 2, dtype=torch.bfloat16))
    assert activity.total.tolist() == [70_001, 70_001]


def test_the_moving_average_is_unbiased_from_the_first_step():
    """Equal steps: S/N is the mean of what was seen; the last steps weigh as the decay says."""
    module = nn.ReLU()
    activity = watched(module, 1)
    rates = [0.25, 0.5, 1.0]
    for rate in rates:
        x = -torch.ones(8, 1)
        x[: int(8 * rate)] = 1
        module(x)
        decay([activity], 0.5)
        if rate == rates[0]:
            assert float(activity.total / activity.count) == 0.25
    expected = (0.25 * 0.25 + 0.5 * 0.5 + 1.0) / 1.75
    assert float(activity.total / activity.count) == pytest.approx(expected, rel=1e-15)


def test_convolutions_count_samples_and_positions():
    module = nn.ReLU()
    activity = watched(module, 3, -3)
    x = batch(0, 4, 3, 5, 6)
    module(x)
    assert torch.equal(activity.total / activity.count, (x > 0).double().mean((0, 2, 3)))
    module(x[0])  # without a batch
    assert float(activity.count) == 5 * 30


def test_padding_is_not_counted():
    padding = Padding()
    module = nn.ReLU()
    activity = watched(module, 7, padding=padding)
    x = batch(0, 4, 6, 7)
    padding.valid = torch.arange(6) < torch.tensor([2, 6, 1, 3])[:, None]
    module(x)
    assert float(activity.count) == 12
    assert torch.equal(activity.total / activity.count, (x[padding.valid] > 0).double().mean(0))
    padding.valid = None
    module(x)
    assert float(activity.count) == 12 + 24


def test_only_in_training_mode():
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.5)
    model.eval()
    model(batch(0, 8, 20))
    assert float(pruner.activities["0"].count) == 0.0


def test_accumulation_is_one_step():
    counts = []
    for parts in (1, 4):
        model = mlp()
        pruner = BudgetedBroadcast(model, 0.5)
        for part in batch(0, 32, 20).chunk(parts):
            model(part)
        pruner.step()
        counts.append(pruner.activities["0"].total)
    assert torch.equal(*counts)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_counts_once(reentrant):
    seen = []
    for checkpointed in (False, True):
        model = mlp()
        pruner = BudgetedBroadcast(model, 0.5)
        x = batch(0, 16, 20).requires_grad_()
        out = checkpoint(model, x, use_reentrant=reentrant) if checkpointed else model(x)
        out.pow(2).sum().backward()
        seen.append((pruner.activities["2"].total, pruner.activities["2"].count, model[0].weight.grad))
    for plain, again in zip(*seen, strict=True):
        assert torch.equal(plain, again)


def test_a_recomputed_forward_would_count_twice(monkeypatch):
    """Negative control: without the check that a backward pass is running, checkpointing counts twice."""
    monkeypatch.setattr(torch._C, "_current_graph_task_id", lambda: -1)
    model = mlp()
    pruner = BudgetedBroadcast(model, 0.5)
    checkpoint(model, batch(0, 16, 20).requires_grad_(), use_reentrant=False).sum().backward()
    assert float(pruner.activities["2"].count) > 16


def test_the_wrong_activation_is_refused():
    model = mlp()
    BudgetedBroadcast(model, 0.5, activations={"0": "3"})
    with pytest.raises(ValueError, match="40 units on axis -1"):
        model(batch(0, 4, 20))


@pytest.mark.parametrize("rescale", [None, "forward"])
def test_compiled_without_breaks_or_recompiles(rescale):
    import torch._dynamo
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    model, plain = mlp(), mlp()
    pruners = [BudgetedBroadcast(m, 0.3, interval=3, warmup=2, rescale=rescale) for m in (model, plain)]
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    optimizers = [torch.optim.SGD(m.parameters(), 0.05, momentum=0.9) for m in (model, plain)]
    for step in range(1, 20):
        for run, optimizer, pruner in zip((compiled, plain), optimizers, pruners, strict=True):
            optimizer.zero_grad()
            run(batch(step, 32, 20)).pow(2).mean().backward()
            optimizer.step()
            pruner.step()
    assert pruners[0].n_refreshes == 6
    assert counter.frame_count == 1
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(pruners[0].activities["0"].total, pruners[1].activities["0"].total)


# -- where activity is seen


def sites(model):
    graph = find_layers(model)
    trace_layers(model, graph)
    names = {id(m): n for n, m in model.named_modules()}
    seen = {n: layer.site and (names[id(layer.site.module)], layer.site.side) for n, layer in graph.items()}
    return seen, {n: layer.inputs for n, layer in graph.items()}


def test_sequential():
    seen, inputs = sites(mlp())
    assert seen == {"0": ("1", "output"), "2": ("3", "output"), "4": None}
    assert inputs == {"0": (), "2": ("0",), "4": ("2",)}


def test_functions_are_seen_through_the_module_before_them():
    seen, inputs = sites(ConvNet())
    assert seen == {
        "conv1": ("bn1", "output"), "conv2": ("conv2", "output"), "fc1": ("fc1", "output"), "fc2": None,
    }  # fmt: skip
    assert inputs == {"conv1": (), "conv2": ("conv1",), "fc1": ("conv2",), "fc2": ("fc1",)}


def test_attention_and_feed_forward():
    seen, inputs = sites(Attention())
    assert seen == {
        "attention.in_proj": None, "attention.out_proj": None, "up": ("act", "output"), "down": None,
    }  # fmt: skip
    assert inputs["down"] == ("up",)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(6, 12), nn.Linear(6, 12), nn.Linear(12, 6)
        self.act = nn.SiLU()

    def forward(self, x):
        return x + self.down(self.act(self.gate(x)) * self.up(x))


def test_a_gated_unit_is_on_where_its_gate_is():
    seen, inputs = sites(Gated())
    assert seen["gate"] == seen["up"] == ("act", "output")
    assert inputs["down"] == ("gate", "up")


class Block(nn.Module):
    """A residual block whose one ReLU module is called twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


def test_a_shared_activation_is_not_counted_for_two_layers():
    model = nn.Sequential(Block(), Block(), nn.Flatten(), nn.Linear(4 * 4, 3))
    seen, inputs = sites(model)
    assert seen["0.conv1"] == ("0.bn1", "output")
    assert seen["0.conv2"] == ("1.conv1", "input")  # after the sum, where the next block reads it
    assert seen["1.conv2"] == ("2", "input")
    assert inputs["1.conv1"] == ("0.conv2",)
    assert inputs["3"] == ("1.conv2",)


def test_parts_are_traced_where_the_whole_cannot_be():
    class Wild(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(widths=(4, 6, 2))

        def forward(self, x):
            return self.net(x) if x.sum() > 0 else -self.net(x)

    seen, inputs = sites(Wild())
    assert seen["net.0"] == ("net.1", "output")
    assert inputs["net.2"] == ("net.0",)


def test_transformer_layers():
    seen, inputs = sites(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2))
    assert seen["layers.1.linear1"] == ("layers.1.linear1", "output")
    assert inputs["layers.1.linear2"] == ("layers.1.linear1",)
    assert seen["layers.0.self_attn.out_proj"] is None


@pytest.mark.parametrize("make", [mlp, ConvNet, lambda: nn.Sequential(Block(), Block(), nn.Flatten(), nn.Linear(16, 3))])  # fmt: skip
def test_what_is_seen_is_what_the_next_layer_reads(make):
    """Two roads: the site's on-rate against the sign of what the reading layer gets, where nothing is pooled."""
    torch.manual_seed(0)
    model = make()
    pruner = BudgetedBroadcast(model, 0.5)
    shapes = {"Linear": (8, 20), "Conv2d": (8, 3, 8, 8), "Block": (8, 4, 2, 2)}
    first = next(iter(model.modules().__iter__()))
    kind = type(model[0]).__name__ if isinstance(first, nn.Sequential) else "Conv2d"
    read = {}
    for name, layer in pruner.graph.items():
        layer.owners[0][0].register_forward_pre_hook(
            lambda m, x, name=name: read.__setitem__(name, x[0].clone())
        )
    model(batch(0, *shapes[kind]))
    rates = pruner.on_rates()
    checked = 0
    for name, layer in pruner.graph.items():
        if len(layer.inputs) == 1 and layer.inputs[0] in rates and not isinstance(model, ConvNet):
            x = read[name]
            units = rates[layer.inputs[0]].numel()
            by_unit = x.reshape(x.shape[0], units, -1) if x.dim() != 3 else x
            torch.testing.assert_close((by_unit > 0).double().mean((0, 2)), rates[layer.inputs[0]])
            checked += 1
    assert checked or isinstance(model, ConvNet)
