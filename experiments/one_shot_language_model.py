"""Which one-shot score leaves a trained language model best on rare words, and which keys may attention lose?

Source: the dense decoder of language_model, trained as there, or any causal model of Hugging Face's form in
a local folder; nothing is trained after pruning. Each feed-forward layer is cut to the same density, freely
or at most 2 of every 4 neighbours: at random, by magnitude, by Wanda (arXiv 2306.11695), by SparseGPT
(arXiv 2301.00774), and with degrees from on-rates (arXiv 2510.01263) by magnitude (bb) or by Wanda's score
(bb_wanda). At 2:4 and density 0.5 every row is full, and bb is magnitude. Calibration windows are drawn from
the training part. Attention: each head keeps a share of the distances to its keys, by the balance, by the
threshold on traffic (the busiest go), the most attended of each head alike, the nearest, or at random; the
key of the token itself always stays. Both attention rules are this project's and experimental.

Time: 2.5 min a cell on one core (CPU preset, 5 cells), no accelerator. What would count against the rule: a
perplexity on tail words above that of Wanda by an interval that excludes 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.fit.uncertainty import mean_low_high
from bbtheory.records import Record
from experiments import language_model
from experiments._contest_methods import make_optimizer
from experiments.language_model import METRICS, Corpus
from experiments.protocol import NotRun, Progress

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bbtheory.train import AttentionTraffic, Transformer

SCORES = ("random", "magnitude", "wanda", "sparse_gpt", "bb", "bb_wanda")
KEYS = ("balance", "threshold", "most_attended", "nearest", "random_keys")
PATTERNS = {"free": None, "2:4": (2, 4)}
NAMES = tuple(metric.name for metric in METRICS)
_RIVAL = "wanda"
_BISECTIONS = 60  # of a knob of a budget, to the resolution of float64 over the range of any traffic
_KEY_NATS = 8.0  # beta times the mean number of keys, as for units


@dataclasses.dataclass(frozen=True)
class Config(language_model.Config):
    """Settings: those of the dense model as in language_model, and what is cut of it.

    Parameters
    ----------
    scores : tuple of str
    keys : tuple of str
        Rules of attention; none for a model of a folder.
    densities : tuple of float
        Kept / all weights of the masked layers, and kept / all distances of the heads; at most 0.5 at 2:4.
    windows : int
        Of calibration.
    folder : str
        Of a Hugging Face causal language model with its tokenizer, whose Linear modules under ``mlp`` are
        cut; empty: the model that is trained here.
    others : see `language_model.Config`
    """

    methods: tuple[str, ...] = ("dense",)
    densities: tuple[float, ...] = (0.5, 0.3)
    scores: tuple[str, ...] = SCORES
    keys: tuple[str, ...] = KEYS
    windows: int = 128
    folder: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for score in self.scores:
            validate.choice("scores", score, SCORES)
        for rule in self.keys:
            validate.choice("keys", rule, KEYS)
        for density in self.densities:
            validate.real("densities", density, "(0, 0.5]")
        validate.integer("windows", self.windows, "[1, inf)")


def _preset(of: Any, **changes: Any) -> Config:
    own = {"methods", "densities"}
    shared = {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if f.name not in own}
    return Config(**shared | changes)


SMOKE = _preset(language_model.SMOKE, densities=(0.5,), windows=8)
CPU = _preset(language_model.CPU, windows=64)
GPU = _preset(language_model.GPU)


@dataclasses.dataclass(frozen=True, eq=False)
class Cut(Record):
    """One way of cutting one model.

    Parameters
    ----------
    method : str
        A score of links or a rule of keys; dense: nothing cut.
    part : str
        ffn or attention.
    pattern : str
    wanted, density : float
        Kept share of links or of distances.
    worst_gap : float
        Largest distance of a layer from its density, links; NaN for attention.
    metrics : ndarray
    """

    KIND: ClassVar[str] = "one_shot_cut"

    method: str
    part: str
    pattern: str
    wanted: float
    density: float
    worst_gap: float
    metrics: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """All cuts of one trained model; ``baseline`` of bigram counts."""

    KIND: ClassVar[str] = "one_shot_cell"

    metric_names: tuple[str, ...]
    cuts: tuple[Cut, ...]
    baseline: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One way of cutting over seeds: means, 95 % Student intervals, differences paired by seed."""

    KIND: ClassVar[str] = "one_shot_row"

    method: str
    part: str
    pattern: str
    wanted: float
    density: float
    worst_gap: float
    n: int
    perplexity: float
    low: float
    high: float
    tail: float
    tail_low: float
    tail_high: float
    middle: float
    head: float
    tail_less_dense: float
    tail_less_dense_low: float
    tail_less_dense_high: float
    tail_less_rival: float  # wanda for links, most_attended for keys
    tail_less_rival_low: float
    tail_less_rival_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All models.

    Parameters
    ----------
    rows : tuple of Row
    baseline, baseline_tail : float
        Perplexities of bigram counts.
    note : str
    """

    KIND: ClassVar[str] = "one_shot_language_model"

    rows: tuple[Row, ...]
    baseline: float
    baseline_tail: float
    note: str


NOTE = (
    "nothing is trained after the cut; sparse_gpt changes the weights it keeps, the others do not; bb at 2:4 "
    "and density 0.5 has no room for degrees and is magnitude"
)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained model and how to judge it.

    Parameters
    ----------
    model : torch.nn.Module
    layers : tuple of str
    text : Corpus
    logits : callable (tokens) -> logits
    decoder : Transformer or None
        Where attention can be measured.
    """

    model: nn.Module
    layers: tuple[str, ...]
    text: Corpus
    logits: Any
    decoder: Transformer | None

    def metrics(self, config: Config) -> np.ndarray:
        """Judge it on the test part."""
        from bbtheory.train import surprise

        device = next(self.model.parameters()).device
        nats = surprise(self.logits, self.text.test, config.context, batch=config.batch, device=device)
        found = self.text.metrics(nats)
        return np.array([found[name] for name in NAMES])


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train one model, or read it, and cut it in every way."""
    import torch

    from bbtheory.train import MissingDataError, prune_one_shot

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NotRun("a CUDA device")
    torch.set_num_threads(1)
    try:
        subject = (
            _trained(config, progress) if not config.folder else _from_folder(config, progress.data_root)
        )
    except MissingDataError as missing:
        raise NotRun(f"data: {missing}") from None
    rng = np.random.default_rng(config.seeds[0])
    train = torch.from_numpy(subject.text.train)
    starts = rng.integers(0, len(train) - config.context, config.windows)
    windows = train[torch.from_numpy(starts)[:, None] + torch.arange(config.context)]
    cuts = [Cut("dense", "ffn", "free", 1.0, 1.0, math.nan, subject.metrics(config))]
    whole = {
        name: subject.model.get_parameter(f"{name}.weight").detach().cpu().clone() for name in subject.layers
    }
    for method in config.scores:
        for pattern, groups in PATTERNS.items():
            for density in config.densities:
                masks = prune_one_shot(
                    subject.model,
                    subject.layers,
                    windows.split(config.batch),
                    method=method,
                    density=density,
                    groups=groups,
                    call=lambda model, x: subject.logits(x.to(next(model.parameters()).device)),
                    seed=config.seeds[0],
                )
                kept = sum(int(mask.sum()) for mask in masks.values())
                size = sum(mask.numel() for mask in masks.values())
                gap = max(abs(int(mask.sum()) - density * mask.numel()) for mask in masks.values())
                cuts.append(Cut(method, "ffn", pattern, density, kept / size, gap, subject.metrics(config)))
                with torch.no_grad():
                    for name, weight in whole.items():
                        subject.model.get_parameter(f"{name}.weight").copy_(weight)
    if subject.decoder is not None:
        cuts += _attention(config, subject, windows, rng)
    return Cell(NAMES, tuple(cuts), np.array([subject.text.baseline.get(name, math.nan) for name in NAMES]))


def _trained(config: Config, progress: Progress) -> Subject:
    """Train the dense model as language_model does."""
    import torch

    from bbtheory.train import Transformer, train_epochs

    task = language_model.task(config, progress.data_root)
    model = task.model.to(config.device)
    assert isinstance(model, Transformer)
    optimizer, scheduler = make_optimizer(task, model, config, config.epochs * config.steps)
    saved = progress.restore()
    progress.total(config.epochs)

    def keep(state: dict[str, Any]) -> None:
        progress.save({"run": state})
        progress.tick()

    train_epochs(
        model,
        optimizer,
        task.batches,
        epochs=config.epochs,
        loss=task.loss,
        scheduler=scheduler,
        scheduler_per="step",
        clip=config.clip,
        autocast=torch.bfloat16 if config.precision == "bfloat16" else None,
        seed=config.seeds[0],
        state=None if saved is None else saved["run"],
        on_epoch=keep,
    )
    layers = tuple(task.layers or ())
    return Subject(model.eval(), layers, language_model.read_corpus(config, progress.data_root), model, model)


def _from_folder(config: Config, data_root: Path | None) -> Subject:
    """Read a causal language model of Hugging Face's form; nothing is fetched."""
    import torch
    from torch import nn

    from bbtheory.train import load_text, word_buckets

    folder = Path(config.folder)
    if not folder.is_dir():
        raise NotRun(f"a folder {folder} with a causal language model")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise NotRun("transformers") from None
    kind = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=kind)
    model = model.to(config.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = load_text(config.data, data_root)
    # a share of the training part is enough to draw calibration windows from
    near = text.train[: 40 * config.windows * config.context]
    train = np.array(tokenizer(near, add_special_tokens=False)["input_ids"])
    coded = tokenizer(text.test, add_special_tokens=False, return_offsets_mapping=True)
    ends = np.array([end for _, end in coded["offset_mapping"]])
    n = min(len(ends), config.test_tokens or len(ends))
    lengths = np.diff(ends[:n])  # what a token adds to the text
    buckets = word_buckets(text)[np.maximum(ends[1:n] - 1, 0)]
    layers = tuple(
        name for name, m in model.named_modules() if isinstance(m, nn.Linear) and "mlp" in name.split(".")
    )
    if not layers:
        raise ValueError(f"folder must hold a model with Linear modules under mlp, got {folder}")
    corpus = Corpus(len(tokenizer), train, np.array(coded["input_ids"])[:n], lengths, buckets, {}, math.nan)

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        return model(tokens).logits

    return Subject(model, layers, corpus, logits, None)


def _attention(
    config: Config, subject: Subject, windows: torch.Tensor, rng: np.random.Generator
) -> Iterator[Cut]:
    """Judge the model with each head's keys cut."""
    from bbtheory.train import keep_distances, measure_key_distances

    model = subject.decoder
    assert model is not None
    device = next(model.parameters()).device
    traffic = measure_key_distances(model, windows[: config.batch].to(device))
    for rule in config.keys:
        for share in config.densities:
            masks = [_kept(rule, share, measured, rng) for measured in traffic]
            keep_distances(model, masks)
            density = float(np.mean([mask.mean() for mask in masks]))
            yield Cut(rule, "attention", "free", share, density, math.nan, subject.metrics(config))
    keep_distances(model, [None] * len(traffic))


def _kept(rule: str, share: float, measured: AttentionTraffic, rng: np.random.Generator) -> np.ndarray:
    """Return which distances each head of a block keeps, (n_heads, n), near to the share."""
    from bbtheory.train import budget_tokens

    rates = measured.on_rate.reshape(measured.n_heads, -1)
    n = rates.shape[1]
    each = max(round(share * n), 1)
    if rule == "balance":
        beta = _KEY_NATS / each
        reach = float(np.abs(measured.head_log_odds[np.isfinite(measured.head_log_odds)]).max(initial=0.0))

        def kept(knob: float) -> np.ndarray:
            return budget_tokens(measured, beta=beta, d0=knob, always=(0,)).mask

        return _nearest(kept, -reach / beta, n + reach / beta, each * measured.n_heads)
    if rule == "threshold":
        return _nearest(
            lambda knob: budget_tokens(measured, tau=math.exp(knob), always=(0,)).mask,
            math.log(max(float(measured.traffic[measured.traffic > 0].min()), 1e-300)),
            math.log(float(measured.traffic.max())),
            each * measured.n_heads,
        )
    score = {
        "most_attended": lambda: rates.copy(),
        "nearest": lambda: np.tile(-np.arange(n, dtype=float), (measured.n_heads, 1)),
        "random_keys": lambda: rng.random(rates.shape),
    }[rule]()
    score[:, 0] = np.inf
    rank = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1)
    return rank < each


def _nearest(kept: Callable[[float], np.ndarray], low: float, high: float, wanted: int) -> np.ndarray:
    """Bisect a knob that keeps the more keys the larger it is, and return the mask nearest to the number."""
    best = min((kept(low), kept(high)), key=lambda mask: abs(int(mask.sum()) - wanted))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        mask = kept(middle)
        if abs(int(mask.sum()) - wanted) < abs(int(best.sum()) - wanted):
            best = mask
        low, high = (middle, high) if mask.sum() < wanted else (low, middle)
    return best


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Average over seeds, and set every cut against the dense model and its rival."""
    ways = [(cut.method, cut.part, cut.pattern, cut.wanted) for cut in cells[0].cuts]
    cuts = {way: [cell.cuts[i] for cell in cells] for i, way in enumerate(ways)}

    def values(way: tuple[str, str, str, float], name: str) -> np.ndarray:
        return np.array([cut.metrics[NAMES.index(name)] for cut in cuts[way]])

    rows = []
    for way, group in cuts.items():
        method, part, pattern, wanted = way
        tail = values(way, "perplexity_tail")
        rival = (_RIVAL if part == "ffn" else "most_attended", part, pattern, wanted)
        against = tail - values(rival, "perplexity_tail") if rival in cuts and rival != way else tail * np.nan
        dense = values(ways[0], "perplexity_tail")
        rows.append(
            Row(
                method,
                part,
                pattern,
                wanted,
                float(np.mean([cut.density for cut in group])),
                max(cut.worst_gap for cut in group),
                len(group),
                *mean_low_high(values(way, "perplexity")),
                *mean_low_high(tail),
                mean_low_high(values(way, "perplexity_middle"))[0],
                mean_low_high(values(way, "perplexity_head"))[0],
                *mean_low_high(tail - dense if way != ways[0] else tail * np.nan),
                *mean_low_high(against),
            )
        )
    baseline = cells[0].baseline
    return Result(
        rows=tuple(rows),
        baseline=float(baseline[NAMES.index("perplexity")]),
        baseline_tail=float(baseline[NAMES.index("perplexity_tail")]),
        note=NOTE,
    )
