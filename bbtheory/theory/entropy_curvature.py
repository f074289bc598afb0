"""Second derivative of the joint entropy by the on-rates: is a stationary point of the balance a maximum?"""

from __future__ import annotations

import numpy as np

from bbtheory.theory.correlated import held_slope
from bbtheory.theory.pairwise import PairwiseCode, state_features


def entropy_curvature(code: PairwiseCode, hold: str, along: np.ndarray | None = None) -> float:
    """Largest eigenvalue of d2S/da da at fixed ``hold``: -(1, Q)^T Cov^-1 (1, Q) - sum_p J_p d2q_p/da da.

    The gradient is -f - sum_p J_p dq_p/da over the pairs p; fields and couplings move with the moments by the
    inverse of their covariance matrix Cov, and Q = dq_p/da.

    Parameters
    ----------
    code : PairwiseCode
        The pairwise maximum-entropy code at the on-rates in question, n <= 12.
    hold : {"coactivation", "covariance", "correlation"}
        What stays fixed. With co-activations held the result is always negative; it was with covariances in
        all codes tried; with correlations it is positive for very rare, strongly correlated units.
    along : ndarray (n,), optional
        Fan-outs: only changes of the on-rates that keep the traffic a.k.

    Returns
    -------
    float, nats

    References
    ----------
    This project's derivation.
    """
    n = code.n_units
    rows, columns = np.triu_indices(n, 1)
    features = state_features(n)
    p, a, J = code.probability, code.on_rate, code.coupling
    centred = features - np.concatenate([a, code.coactivation[rows, columns]])
    covariance = (centred * p[:, None]).T @ centred
    rho = np.array(code.correlation)
    np.fill_diagonal(rho, 0.0)
    slope = held_slope(a, rho, hold)
    Q = np.zeros((rows.size, n))
    Q[np.arange(rows.size), rows] = slope[rows, columns]
    Q[np.arange(rows.size), columns] = slope[columns, rows]
    tangent = np.vstack([np.eye(n), Q])
    H = -tangent.T @ np.linalg.solve(covariance, tangent)
    if hold != "coactivation":
        H -= J  # d2q_ij/da_i da_j = 1 of a_i a_j, and of rho_ij sd_i sd_j:
    if hold == "correlation":
        sd = np.sqrt(a * (1.0 - a))
        skew = (1.0 - 2.0 * a) / (2.0 * sd)
        H -= J * rho * np.outer(skew, skew)
        H += np.diag(((J * rho) @ sd) / (4.0 * sd**3))
    if along is not None and n > 1:
        plane = np.linalg.svd(along[None, :])[2][1:]
        H = plane @ H @ plane.T
    return float(np.linalg.eigvalsh((H + H.T) / 2.0)[-1])
