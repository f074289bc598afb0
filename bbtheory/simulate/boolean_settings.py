"""Settings of a simulated network on a Boolean task: how it trains, how it is pruned."""

from __future__ import annotations

from dataclasses import dataclass

from bbtheory import schedules, validate

OPTIMIZERS = ("adam", "sgd")
DTYPES = ("float32", "float64")
METHODS = ("none", "magnitude", "random", "threshold", "controller")
ACTUATORS = ("sp_out", "sp_in", "both")
SCHEDULES = ("linear", "exponential", "cubic")
SCOPES = ("unit", "global")
DECAYS = "[0, 0.9999999]"  # below 1 in float32 too, as 1e-30 is above 0
RESCALES = ("none", "weight", "incremental", "forward")


@dataclass(frozen=True)
class Training:
    """How a network trains: ReLU layers, one output, logistic loss, fresh examples at every step.

    Parameters
    ----------
    hidden : tuple of int
        Widths of one or more hidden layers, each >= 1.
    steps : int
        Optimizer steps, >= 1.
    batch : int
        Examples in a step, >= 1.
    optimizer : {"adam", "sgd"}
    learning_rate : float
        In (0, 1e30].
    first_decay, second_decay, eps : float
        Adam's beta_1 and beta_2 in [0, 0.9999999], eps in [1e-30, 1e30].
    dtype : {"float32", "float64"}
        Of parameters and arithmetic.
    examples : int
        Traces of loss and accuracy are means over the truth table where it has at most this many rows and
        inputs carry no noise, else over this many examples, drawn once; >= 1.

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """

    hidden: tuple[int, ...] = (64, 64)
    steps: int = 2000
    batch: int = 256
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    first_decay: float = 0.9
    second_decay: float = 0.999
    eps: float = 1e-8
    dtype: str = "float32"
    examples: int = 1024

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, (tuple, list)) or not self.hidden:
            raise ValueError(f"hidden must be a non-empty tuple of widths, got {self.hidden!r}")
        widths = tuple(validate.integer("hidden", width, "[1, 1e6]") for width in self.hidden)
        object.__setattr__(self, "hidden", widths)
        validate.integer("steps", self.steps, "[1, 1e12]")
        validate.integer("batch", self.batch, "[1, 1e7]")
        validate.choice("optimizer", self.optimizer, OPTIMIZERS)
        validate.real("learning_rate", self.learning_rate, "(0, 1e30]")
        validate.real("first_decay", self.first_decay, DECAYS)
        validate.real("second_decay", self.second_decay, DECAYS)
        validate.real("eps", self.eps, "[1e-30, 1e30]")
        validate.choice("dtype", self.dtype, DTYPES)
        validate.integer("examples", self.examples, "[1, 1e8]")


@dataclass(frozen=True)
class Pruning:
    """How links are cut, and come back, at each refresh.

    A refresh happens after every ``interval`` steps from step ``warmup`` to step ``until``. Values of cut
    links are kept; with ``regrow`` they compete again, so a cut link stronger than a kept one returns.

    magnitude, random
        Keep the share that the schedule asks for, by |w| or by random scores drawn once.
    threshold
        The local rule alone: while a_i k_i > tau cut unit i's weakest link, at most ``cuts`` a refresh; with
        ``regrow``, while a_i (k_i + 1) <= tau its strongest dormant link returns, as many at most.
    controller
        k_i = clip(d0 + ln((1-a_i)/a_i)/beta, m, D), rounded: the strongest k_i links are kept.

    a_i is an average of the unit's on-rate over past batches; k_i is its fan-out under SP-out (its column of
    the next layer's weights), its fan-in under SP-in (its row).

    Parameters
    ----------
    method : {"none", "magnitude", "random", "threshold", "controller"}
    layers : tuple of int
        Weight matrices that may lose links: 0 leads from the inputs to the first hidden layer, and so on.
        SP-out needs a hidden layer before the matrix, SP-in one behind it.
    interval : int
        Steps between refreshes, >= 1; traces have a row after each interval, whether links are cut or not.
    warmup : int
        No refresh before this step, >= 0.
    until : int, optional
        No refresh after this step; None: to the end.
    ema_decay : float
        Of the average on-rate, per step, in [0, 1); corrected for its start at zero.
    actuator : {"sp_out", "sp_in", "both"}
        For threshold and controller. Both: the controller keeps the intersection of the two masks, the
        threshold rule cuts outgoing links, then incoming ones.
    tau : float, optional
        > 0, links per step; threshold only.
    cuts : int
        Links that a unit may lose in one refresh of the threshold rule; 0: no limit.
    beta, d0 : float, optional
        > 0 nats per link; links; controller only.
    min_degree : int
        m >= 0, the floor of threshold and controller.
    max_degree : int, optional
        D >= m; None: all links there are.
    regrow : bool
        Whether cut links may come back.
    density : float, optional
        In (0, 1], of the named layers together; magnitude and random only.
    schedule : {"linear", "exponential", "cubic"}
        How the density falls to it.
    ramp : int
        Refreshes until it is there; 1: at once.
    scope : {"unit", "global"}
        Whether every receiving unit keeps the same number of links, or the whole competes.
    rescale : {"none", "weight", "incremental", "forward"}
        Keeps a unit's input variance when its kept fan-in k changes, I its full fan-in. weight: at each
        refresh that changes a row's kept count, the row is multiplied by sqrt(I/k); as this compounds, it
        suits a single cut. incremental: by sqrt(previous k/k). forward: no weight is changed, the
        pre-activation, bias included, is multiplied by sqrt(I/k). Dormant values are multiplied with their
        row; the output's row is never rescaled.

    Raises
    ------
    ValueError
        If an argument is outside its domain, is missing, or belongs to another method.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263: rules, actuators, and its three statements of the rescale.
    """

    method: str = "none"
    layers: tuple[int, ...] = (1,)
    interval: int = 50
    warmup: int = 0
    until: int | None = None
    ema_decay: float = 0.99
    actuator: str = "sp_out"
    tau: float | None = None
    cuts: int = 1
    beta: float | None = None
    d0: float | None = None
    min_degree: int = 0
    max_degree: int | None = None
    regrow: bool = True
    density: float | None = None
    schedule: str = "cubic"
    ramp: int = 1
    scope: str = "global"
    rescale: str = "none"

    def __post_init__(self) -> None:
        validate.choice("method", self.method, METHODS)
        if not isinstance(self.layers, (tuple, list)) or not self.layers:
            raise ValueError(f"layers must be a non-empty tuple of matrices, got {self.layers!r}")
        layers = tuple(validate.integer("layers", layer, "[0, 1000]") for layer in self.layers)
        if list(layers) != sorted(set(layers)):
            raise ValueError(f"layers must be ascending, each once, got {layers}")
        object.__setattr__(self, "layers", layers)
        validate.integer("interval", self.interval, "[1, 1e12]")
        validate.integer("warmup", self.warmup, "[0, 1e12]")
        if self.until is not None:
            validate.integer("until", self.until, "[0, 1e12]")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.choice("actuator", self.actuator, ACTUATORS)
        self._only_for("tau", ("threshold",), "(0, inf)")
        self._only_for("beta", ("controller",), "(0, inf)")
        self._only_for("d0", ("controller",), "(-inf, inf)")
        self._only_for("density", ("magnitude", "random"), "(0, 1]")
        validate.integer("cuts", self.cuts, "[0, 1e9]")
        validate.integer("min_degree", self.min_degree, "[0, 1e9]")
        if self.max_degree is not None:
            validate.integer("max_degree", self.max_degree, f"[{self.min_degree}, 1e9]")
        validate.instance("regrow", self.regrow, bool)
        validate.choice("schedule", self.schedule, SCHEDULES)
        validate.integer("ramp", self.ramp, "[1, 1e6]")
        validate.choice("scope", self.scope, SCOPES)
        validate.choice("rescale", self.rescale, RESCALES)

    def _only_for(self, name: str, methods: tuple[str, ...], domain: str) -> None:
        value = getattr(self, name)
        if self.method in methods:
            if value is None:
                raise ValueError(f"{name} must be given for method {self.method!r}, got None")
            validate.real(name, value, domain)
        elif value is not None:
            raise ValueError(f"{name} must be None for method {self.method!r}, got {value!r}")

    def refreshes_at(self, step: int) -> bool:
        """Whether links are cut after this many steps."""
        return (
            self.method != "none"
            and step > 0
            and step % self.interval == 0
            and step >= self.warmup
            and (self.until is None or step <= self.until)
        )

    def densities(self) -> tuple[float, ...]:
        """Density after each refresh of the ramp, magnitude and random only; it stays at the last."""
        assert self.density is not None
        fall = {
            "linear": schedules.linear_trajectory,
            "exponential": schedules.exponential_trajectory,
            "cubic": schedules.cubic_trajectory,
        }[self.schedule]
        return fall(self.density, self.ramp)[1:]
