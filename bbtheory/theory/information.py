"""Traffic as a bound on information: every link of the chain, what is an inequality, and how loose each is.

Outputs y = W h + n of binary units h with noise n ~ N(0, sigma^2 1); w_i, column i of W, are the outgoing
weights of unit i, k_i their number and C k_i >= |w_i|^2. With Cov and R the covariance and correlation
matrices of h:

I(h; y) <= 1/2 ln det(1 + W Cov W^T/sigma^2)              of all codes with this covariance Gaussians carry
most
        <= tr(W Cov W^T)/(2 sigma^2)                      ln(1 + x) <= x
        ~  sum_i chi_i |w_i|^2/(2 sigma^2)                an approximation: drops sum_{i != j} Cov_ij w_i.w_j
        <= C/(2 sigma^2) sum_i a_i k_i                    the form in traffic: chi_i <= a_i, |w_i|^2 <= C k_i
tr(W Cov W^T)/(2 sigma^2) <= lambda_max(R) C/(2 sigma^2) sum_i a_i k_i
                          <= (1 + max_i sum_{j != i} |rho_ij|) C/(2 sigma^2) sum_i a_i k_i
I(h; y) <= H(h) <= sum_i h(a_i)

The third step is no inequality, so the form in traffic is no bound for positively correlated units with
aligned weights; times lambda_max(R) it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.theory.binary_code import BinaryCode
from bbtheory.theory.entropy import coding_entropy
from bbtheory.theory.mutual_information import mutual_information, outgoing_weights
from bbtheory.theory.pair_statistics import pair_statistics
from bbtheory.theory.traffic_bound import ROUNDING, TrafficBound


def bound_information(
    weight: ArrayLike,
    *,
    noise_sd: float,
    code: BinaryCode | None = None,
    on_rate: ArrayLike | None = None,
    correlation: ArrayLike | None = None,
    fan_out: ArrayLike | None = None,
    edge_energy: float | None = None,
    n_samples: int = 10_000,
    seed: int = 0,
) -> TrafficBound:
    """Bound the information that units send through noisy links by their traffic, link by link.

    I(h; y) <= 1/2 ln det(1 + W Cov W^T/sigma^2) <= ... <= lambda_max(R) C/(2 sigma^2) sum_i a_i k_i, see the
    module docstring; also I(h; y) <= H(h) <= sum_i h(a_i), which binds at low noise.

    Parameters
    ----------
    weight : array_like (n_out, n)
        W, column i the outgoing weights of unit i.
    noise_sd : float, in [1e-100, 1e100]
        sigma, in the unit of W h.
    code : BinaryCode, optional
        The distribution of the units, n <= 20. Exactly one of ``code`` and ``on_rate``.
    on_rate : array_like (n,), optional
        a_i in (0, 1), for any number of units; I and H are then unknown, and NaN.
    correlation : array_like (n, n), optional
        rho_ij, with ``on_rate`` only. Default: uncorrelated.
    fan_out : array_like (n,), >= 0, links, optional
        k_i. Default: the number of outgoing weights that are not zero.
    edge_energy : float, >= 0, optional
        C with |w_i|^2 <= C k_i. Default: the least such, max_i |w_i|^2/k_i, at most the largest squared
        weight.
    n_samples, seed
        See `mutual_information`.

    Returns
    -------
    TrafficBound

    Raises
    ------
    ValueError
        If an argument is outside its domain, shapes do not fit, not exactly one of ``code`` and ``on_rate``
        is given, ``correlation`` comes with ``code`` or is impossible (see `pair_statistics`), or some
        |w_i|^2 > C k_i (names the unit).

    References
    ----------
    arXiv 2510.01263, its corollary on I(h; y) and sum_i a_i k_i, under weak correlation; the corrected bound
    and the counterexample to the form without it are this project's
    (``derive_information_bound``, ``derive_traffic_counterexample``).
    """
    if validate.exactly_one(code=code, on_rate=on_rate) == "code":
        assert code is not None
        if correlation is not None:
            raise ValueError("correlation must be None where code is given, which has its own")
        a, covariance = code.on_rate, code.covariance
    else:
        a = validate.array("on_rate", on_rate, "(0, 1)")
        rho = np.eye(a.size) if correlation is None else correlation
        covariance = pair_statistics(a, correlation=rho).covariance
    W = outgoing_weights(weight, a.size)
    sigma = validate.real("noise_sd", noise_sd, "[1e-100, 1e100]")
    energy = (W**2).sum(axis=0)
    k = (W != 0).sum(axis=0).astype(np.float64)
    if fan_out is not None:
        k = validate.array("fan_out", fan_out, "[0, inf)", shape=(a.size,))
    C = _edge_energy(energy, k, edge_energy)
    half = 0.5 / sigma**2
    # eigenvalues of W Cov W^T through a factor of the covariance, which is at most as large as the other way
    # round
    values, vectors = np.linalg.eigh(covariance)
    spread = (W @ vectors) * np.sqrt(np.maximum(values, 0.0))
    power = np.linalg.svd(spread, compute_uv=False) ** 2
    chi = np.diagonal(covariance)
    traffic_form = C * half * float(a @ k)
    largest, row_sum = _eigenvalues(covariance)
    info = (
        None if code is None else mutual_information(code, W, noise_sd=sigma, n_samples=n_samples, seed=seed)
    )
    return TrafficBound(
        information=np.nan if info is None else info.information,
        information_error=np.nan if info is None else info.error,
        information_method="none" if info is None else info.method,
        log_det=0.5 * float(np.log1p(power / sigma**2).sum()),
        trace=half * float(power.sum()),
        diagonal=half * float(chi @ energy),
        traffic_form=traffic_form,
        corrected=largest * traffic_form,
        row_sum=row_sum * traffic_form,
        entropy=np.nan if code is None else code.entropy,
        coding_entropy=coding_entropy(a),
        largest_eigenvalue=largest,
        row_sum_eigenvalue=row_sum,
        edge_energy=C,
        noise_sd=sigma,
        n_units=a.size,
        n_outputs=W.shape[0],
    )


def _edge_energy(energy: np.ndarray, k: np.ndarray, given: float | None) -> float:
    if given is None:
        silent = np.flatnonzero((k == 0) & (energy > 0))
        if silent.size:
            raise ValueError(
                f"fan_out must be above 0 for a unit with outgoing weights, got 0 for unit {silent[0]}"
            )
        return float(np.max(energy / np.where(k > 0, k, 1.0)))
    C = validate.real("edge_energy", given, "[0, inf)")
    over = energy - C * k
    if (over > ROUNDING * energy.max()).any():
        i = int(over.argmax())
        raise ValueError(
            f"edge_energy must be C with |w_i|^2 <= C k_i, got {C:.9g} where unit {i} has {energy[i]:.9g} "
            f"over {k[i]:g} links"
        )
    return C


def _eigenvalues(covariance: np.ndarray) -> tuple[float, float]:
    """Return lambda_max(R) and its bound by row sums, over the units that vary (1 if none does)."""
    vary = np.diagonal(covariance) > 0
    if not vary.any():
        return 1.0, 1.0
    sd = np.sqrt(np.diagonal(covariance)[vary])
    R = covariance[np.ix_(vary, vary)] / np.outer(sd, sd)
    return float(np.linalg.eigvalsh(R)[-1]), float(np.abs(R).sum(axis=1).max())
