"""What tests of the theory share: a small random network."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from bbtheory.theory.network import Network


def build_network(
    activation="relu", *, correlated=False, seed=0, sizes=(12, 9, 7, 5), sparse=False, shift=0.1, density=0.8
):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [rng.normal(shift, 1 / math.sqrt(n_in), (n_out, n_in)) for n_out, n_in in shapes]
    masks = [rng.random(shape) < density for shape in shapes]
    root = rng.normal(0.2, 0.3, (sizes[0], sizes[0]))
    covariance = root @ root.T
    moments = {"input_covariance": covariance} if correlated else {"input_variance": np.diag(covariance)}
    if sparse:
        weights, masks = [csr_array(np.where(m, w, 0)) for w, m in zip(weights, masks, strict=True)], None
    biases = [rng.normal(0, 0.3, n) for n in sizes[1:]]
    return Network(
        weights, rng.random(sizes[0]), biases=biases, masks=masks, activations=activation, **moments
    )


@pytest.fixture
def random_network():
    """Return the builder, so that a test chooses activation, shape and moments."""
    return build_network
