"""Checks that two processes make together; run by torchrun from train/test_distributed.py, each function one check.

Every process writes {name of the check: "" or its traceback} to the folder it is given.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from bbtheory.train import BudgetedBroadcast, Flow, Hyperflux, NonFiniteError, Pruner
from bbtheory.train.distributed import Processes, alone
from small_models import ConvNet, batch, cut_are_zero, mlp

WIDTHS = (20, 41, 30, 1)  # rows that two processes cannot share evenly, and a row that one has alone
SETTINGS = {"interval": 3, "warmup": 3}


def share(step: int, *shape: int) -> torch.Tensor:
    """This process's part of a batch; the processes see inputs of different means."""
    return batch(step, 2, *shape)[dist.get_rank()] + 0.7 * dist.get_rank()


def everywhere(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensor of each process."""
    found = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(found, tensor.contiguous())
    return found


def run(model, pruner, steps, *, optimizer=None, shape=(16, 20)):
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 1e-2)
    for step in steps:
        optimizer.zero_grad()
        (model(share(step, *shape)) - 0.3).pow(2).mean().backward()
        optimizer.step()
        pruner.step()
    return optimizer


def refused(make, *words: str, error=ValueError) -> None:
    with pytest.raises(error) as problem:
        make()
    assert all(word in str(problem.value) for word in words), problem.value


def masks_differ(pruner) -> float:
    """Part of the mask's entries in which the processes differ."""
    pairs = [everywhere(w.mask) for w in pruner.weights.values()]
    return sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


# -- data parallel


def ddp_masks_agree():
    for settings in ({}, {"sp_out": True}, {"dormant": "zero"}, {"sp_in": False, "sp_out": True}):
        model = DistributedDataParallel(mlp())
        pruner = BudgetedBroadcast(model, 0.3, **SETTINGS, **settings)
        run(model, pruner, range(1, 8))
        assert pruner.n_refreshes == 2
        assert masks_differ(pruner) == 0
        pruner.verify(agreement=True)
        assert cut_are_zero(pruner)
        pruner.finish()


def ddp_local_statistics_give_other_masks():
    """Negative control: without the sum the masks differ, and the check of agreement says so."""
    model = DistributedDataParallel(mlp())
    pruner = BudgetedBroadcast(model, 0.3, **SETTINGS)
    pruner.reduce = alone
    run(model, pruner, range(1, 4))
    assert masks_differ(pruner) > 0.01
    refused(lambda: pruner.verify(agreement=True), "masks of layer '0'", "same in all processes")
    pruner = BudgetedBroadcast(mlp(), 0.3, seed=dist.get_rank())
    refused(lambda: pruner.verify(agreement=True), "random generators")


def ddp_masks_are_those_of_one_process_with_all_data():
    pruner, single = BudgetedBroadcast(mlp(), 0.3), BudgetedBroadcast(mlp(), 0.3)
    single.reduce = alone
    for step in range(3):
        pruner.model(share(step, 16, 20))
        single.model(torch.cat(everywhere(share(step, 16, 20))))
        for p in (pruner, single):
            p.step()
    for name, rate in single.on_rates().items():  # sums in another order
        torch.testing.assert_close(rate, pruner.on_rates()[name], rtol=1e-14, atol=0)
    for p in (pruner, single):
        p.refresh()
    assert all(torch.equal(w.mask, single.weights[n].mask) for n, w in pruner.weights.items())


def ddp_presence_is_that_of_one_process_with_all_data():
    for view in (False, True):
        wrapped = DistributedDataParallel(mlp().double(), gradient_as_bucket_view=view)
        settings = {"flow": Flow("sgd", lr=30.0, momentum=0.9), "presence": (-0.1, 0.2)}
        flux, single = (Hyperflux(m, 0.1, **settings) for m in (wrapped, mlp().double()))
        single.reduce = alone
        optimizers = [torch.optim.SGD(f.model.parameters(), 0.05, momentum=0.9) for f in (flux, single)]
        for step in range(1, 13):
            x = share(step, 16, 20).double()
            both = torch.cat(everywhere(x))
            for f, model, data, optimizer in (
                (flux, wrapped, x, optimizers[0]),
                (single, single.model, both, optimizers[1]),
            ):
                optimizer.zero_grad()
                halves = data.chunk(2)  # accumulated: the first is summed over processes too
                for half in halves:
                    ((model(half) - 0.3).pow(2).mean() / 2).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                f.step()
        flux.verify(agreement=True)
        assert 0.05 < flux.current_density < 0.95
        for name, weight in flux.weights.items():
            ts = everywhere(weight.t)
            assert torch.equal(*ts)
            other = single.weights[name]  # sums in another order
            torch.testing.assert_close(weight.t, other.t, rtol=0, atol=1e-12)
            torch.testing.assert_close(weight.dormant, other.dormant, rtol=0, atol=1e-12)


def ddp_presence_without_the_sum_differs():
    """Negative control."""
    wrapped = DistributedDataParallel(mlp())
    flux = Hyperflux(wrapped, 0.1, flow=Flow(lr=0.02), presence=(-0.1, 0.2))
    flux.reduce = alone
    run(wrapped, flux, range(1, 8))
    assert masks_differ(flux) > 0.01
    refused(lambda: flux.verify(agreement=True), "same in all processes")


def ddp_presence_refuses_what_one_process_cannot_step():
    wrapped = DistributedDataParallel(mlp())
    flux = Hyperflux(wrapped, 0.1)
    optimizer = run(wrapped, flux, range(1, 3))
    optimizer.zero_grad()
    bad = float("nan") if dist.get_rank() == 0 else 1.0
    (wrapped(share(3, 16, 20)).sum() * bad).backward()
    optimizer.step()
    refused(flux.step, "gradients of layer", error=NonFiniteError)


def fsdp_presence_is_refused():
    model = mlp()
    fully_shard(model)
    refused(lambda: Hyperflux(model, 0.1), "Hyperflux", "whole weights")


def ddp_gradients_are_masked_before_they_are_averaged():
    for view in (False, True):
        for first in (False, True):
            model = mlp()
            pruner = BudgetedBroadcast(model, 0.3, **SETTINGS) if first else None
            wrapped = DistributedDataParallel(model, gradient_as_bucket_view=view)
            pruner = pruner or BudgetedBroadcast(wrapped, 0.3, **SETTINGS)
            assert list(pruner.weights) == ["0", "2", "4"]
            assert pruner.model is model
            optimizer = torch.optim.SGD(wrapped.parameters(), 0.05, momentum=0.9, weight_decay=1e-2)
            for step in range(1, 8):
                run(wrapped, pruner, [step], optimizer=optimizer)
                for weight in pruner.weights.values():
                    one, two = everywhere(weight.parameter.grad)
                    assert torch.equal(one, two)
                    assert one.any()
                    if step not in (3, 6):  # masked by the mask before the refresh
                        assert not one[~weight.mask].any()
            assert cut_are_zero(pruner)
            assert not pruner._enforce_each_step
            assert torch.equal(*everywhere(model[2].weight.detach()))


def ddp_accumulates_without_synchronising():
    grads = []
    for parts in (1, 2):
        model = DistributedDataParallel(mlp())
        pruner = Pruner(model, 0.3)
        pruner.refresh()
        x = share(1, 16, 20)
        if parts == 2:
            with model.no_sync():
                model(x[:8]).pow(2).sum().backward()
            x = x[8:]
        model(x).pow(2).sum().backward()
        grads.append(pruner.weights["2"].parameter.grad)
    torch.testing.assert_close(*grads)
    assert not grads[1][~pruner.weights["2"].mask].any()


def ddp_growth_uses_the_gradient_of_all():
    grown = []
    for pooled in (True, False):
        model = DistributedDataParallel(mlp())
        pruner = BudgetedBroadcast(model, 0.3, dormant="zero", growth="gradient", **SETTINGS)
        if not pooled:
            pruner._pool_gradients = lambda: None
        run(model, pruner, range(1, 7))
        grown.append(masks_differ(pruner))
    assert grown[0] == 0
    assert grown[1] > 0


def ddp_nan_in_one_process_is_refused_by_all():
    pruner = BudgetedBroadcast(mlp(), 0.3)
    x = share(0, 16, 20)
    if dist.get_rank() == 1:
        x[0, 0] = float("nan")
    pruner.model(x)
    refused(pruner.refresh, "activations of layer '0'", error=NonFiniteError)
    assert pruner.current_density == 1.0
    pruner.refresh()


def ddp_a_skipped_step_is_skipped_by_all():
    model = DistributedDataParallel(mlp())
    pruner = BudgetedBroadcast(model, 0.3, dormant="zero", growth="gradient", **SETTINGS)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(1, 8):
        optimizer.zero_grad()
        loss = model(share(step, 16, 20)).pow(2).mean()
        if step == 5 and dist.get_rank() == 1:
            loss = loss * float("inf")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        pruner.step()
    assert pruner.step_count == 6
    assert pruner.n_refreshes == 2
    assert masks_differ(pruner) == 0
    assert cut_are_zero(pruner)


def ddp_one_state_serves_all():
    """The state of process 0, pooled, resumes to the masks and on-rates of the run that was not cut off."""
    model = DistributedDataParallel(mlp())
    pruner = BudgetedBroadcast(model, 0.3, **SETTINGS)
    optimizer = run(model, pruner, range(1, 6))
    rates = pruner.on_rates()
    pruner.pool_statistics()
    assert all(torch.equal(rate, pruner.on_rates()[name]) for name, rate in rates.items())
    saved = [copy.deepcopy(x.state_dict()) for x in (model.module, optimizer, pruner)]
    dist.broadcast_object_list(saved, src=0)
    run(model, pruner, range(6, 10), optimizer=optimizer)
    again = mlp(1)
    again.load_state_dict(saved[0])
    wrapped = DistributedDataParallel(again)
    resumed = BudgetedBroadcast(wrapped, 0.3, **SETTINGS)
    optimizer = torch.optim.Adam(wrapped.parameters(), 1e-2)
    optimizer.load_state_dict(saved[1])
    resumed.load_state_dict(saved[2])
    run(wrapped, resumed, range(6, 10), optimizer=optimizer)
    for name, weight in pruner.weights.items():
        assert torch.equal(weight.mask, resumed.weights[name].mask)
        assert torch.equal(weight.parameter, resumed.weights[name].parameter)


def groups_of_processes():
    both = Processes(dist.new_group([0, 1]))
    x, n, k = (
        torch.full((2, 2), float(dist.get_rank())),
        torch.tensor(3),
        torch.tensor([0.5], dtype=torch.float64),
    )
    both([x, n, k])
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (int(n), float(k)) == (6, 1.0)
    own = [dist.new_group([rank]) for rank in range(2)][dist.get_rank()]
    Processes(own)([x])
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert copy.deepcopy(both) is both


# -- sharded


def sharded(model: nn.Module, **settings) -> nn.Module:
    for module in list(model.children())[:1]:
        fully_shard(module, **settings)
    return fully_shard(model, **settings)


def fsdp_masks_are_those_of_data_parallel():
    for settings in ({}, {"allocation": "layer"}, {"rule": "equal_traffic", "min_degree": 1}, {"beta": 0.3}):
        plain = BudgetedBroadcast(mlp(widths=WIDTHS), 0.3, **settings)
        pruner = BudgetedBroadcast(sharded(mlp(widths=WIDTHS)), 0.3, **settings)
        for p in (plain, pruner):
            p.model(share(1, 16, 20))
            p.refresh()
        assert plain.current_density == pruner.current_density
        for name, weight in pruner.weights.items():
            mask, theirs = weight.mask, plain.weights[name]
            assert isinstance(mask, DTensor)
            assert mask.dtype == torch.bool
            rows = theirs.mask.chunk(2)
            mine = rows[dist.get_rank()] if dist.get_rank() < len(rows) else theirs.mask[:0]
            assert torch.equal(mask.to_local(), mine)
            assert torch.equal(weight.parameter.full_tensor(), theirs.parameter)
            assert torch.equal(weight.dormant.full_tensor(), theirs.dormant)
            assert torch.equal(weight.fan_in(), theirs.fan_in())
            assert torch.equal(weight.fan_out(), theirs.fan_out())
        assert pruner.report().units == plain.report().units


def fsdp_cut_weights_stay_zero():
    for settings in ({}, {"dormant": "zero"}, {"dormant": "zero", "growth": "gradient"}):
        model = sharded(mlp(widths=WIDTHS))
        pruner = BudgetedBroadcast(model, 0.3, **SETTINGS, **settings)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        for step in range(1, 9):
            run(model, pruner, [step], optimizer=optimizer)
            if step >= 3:
                assert abs(pruner.n_kept - 0.3 * pruner.n_weights) < 1
                pruner.verify()
        for weight in pruner.weights.values():
            state = optimizer.state[weight.parameter]["exp_avg"]
            assert isinstance(state, DTensor)
            assert not bool((state * ~weight.mask).any())
        assert not pruner._enforce_each_step
        model.eval()
        model(share(0, 4, 20))  # the root keeps its weights gathered after this
        report = pruner.finish()
        assert report.n_kept == pruner.n_kept


def fsdp_a_pruner_made_before():
    model = mlp(widths=WIDTHS)
    pruner = BudgetedBroadcast(model, 0.3, **SETTINGS)
    run(DistributedDataParallel(model), pruner, range(1, 4))
    masks = {name: weight.mask.clone() for name, weight in pruner.weights.items()}
    optimizer = torch.optim.Adam(sharded(model).parameters(), 1e-2)
    run(model, pruner, [4], optimizer=optimizer)
    for name, mask in masks.items():
        assert torch.equal(pruner.weights[name].mask.full_tensor(), mask)
    pruner.verify()
    run(model, pruner, range(5, 8), optimizer=optimizer)
    pruner.verify()
    assert pruner.n_refreshes == 2


def fsdp_rows_by_magnitude_and_channels():
    torch.manual_seed(0)
    for make, shape, settings in (
        (lambda: mlp(widths=WIDTHS), (8, 20), {}),
        (ConvNet, (8, 3, 8, 8), {"granularity": "channel"}),
        (ConvNet, (8, 3, 8, 8), {}),
    ):
        plain = Pruner(make(), 0.4, allocation="row", **settings)
        pruner = Pruner(sharded(make()), 0.4, allocation="row", **settings)
        for p in (plain, pruner):
            p.refresh()
        for name, weight in pruner.weights.items():
            assert torch.equal(weight.mask.full_tensor(), plain.weights[name].mask)
        assert pruner.saliency() == plain.saliency()
        run(pruner.model, pruner, [1, 2], shape=shape)
        pruner.verify()


def fsdp_checkpoint_round_trip():
    model = sharded(mlp(widths=WIDTHS))
    pruner = BudgetedBroadcast(model, 0.3, **SETTINGS)
    run(model, pruner, range(1, 6))
    folder = [tempfile.mkdtemp() if dist.get_rank() == 0 else ""]
    dist.broadcast_object_list(folder, src=0)
    state = pruner.state_dict()
    dcp.save({"model": model.state_dict(), "pruner": state}, checkpoint_id=folder[0])
    other = sharded(mlp(3, widths=WIDTHS))
    twin = BudgetedBroadcast(other, 0.3, **SETTINGS)
    loaded = {"model": other.state_dict(), "pruner": twin.state_dict()}
    dcp.load(loaded, checkpoint_id=folder[0])
    other.load_state_dict(loaded["model"])
    twin.load_state_dict(loaded["pruner"])
    twin.verify()
    assert twin.step_count == 5
    plain = BudgetedBroadcast(mlp(3, widths=WIDTHS), 0.3, **SETTINGS)  # a sharded state, in a plain model
    plain.load_state_dict(state)
    for name, weight in pruner.weights.items():
        mask = weight.mask.full_tensor()
        assert torch.equal(twin.weights[name].mask.to_local(), weight.mask.to_local())
        assert torch.equal(twin.weights[name].dormant.to_local(), weight.dormant.to_local())
        assert torch.equal(plain.weights[name].mask, mask)
        assert torch.equal(twin.on_rates().get(name, mask), pruner.on_rates().get(name, mask))
    back = BudgetedBroadcast(sharded(mlp(3, widths=WIDTHS)), 0.3, **SETTINGS)
    back.load_state_dict(plain.state_dict())  # and a plain state in a sharded one
    assert all(
        torch.equal(w.mask.to_local(), pruner.weights[n].mask.to_local()) for n, w in back.weights.items()
    )


def fsdp_choices_across_rows_are_refused():
    for settings in ({"sp_out": True}, {"sp_in": False, "sp_out": True}, {"rescale": "weight"}):
        refused(lambda s=settings: BudgetedBroadcast(sharded(mlp()), 0.3, **s), "row by row")
    for allocation in ("network", "layer"):
        refused(lambda a=allocation: Pruner(sharded(mlp()), 0.3, allocation=a), "row by row")
    model = mlp()
    pruner = Pruner(model, 0.3)
    sharded(model)
    refused(pruner.refresh, "row by row")
    model = nn.Linear(6, 4)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    model.weight = nn.Parameter(distribute_tensor(model.weight.detach(), mesh, [Shard(1)]))
    refused(lambda: Pruner(model, 0.3, allocation="row"), "sharded by rows")


CHECKS = {
    name: check for name, check in list(globals().items()) if name.split("_")[0] in ("ddp", "fsdp", "groups")
}


def main(folder: str) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    found = {}
    for name, check in CHECKS.items():
        try:
            check()
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc()
        # a check that failed in one process only would leave the other out of step
        failed = torch.tensor(float(bool(found[name])))
        dist.all_reduce(failed)
        Path(folder, f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
