"""Seeds of streams of random numbers that have nothing to do with each other."""

from __future__ import annotations

import numpy as np

from bbtheory import validate


def stream_seed(seed: int, stream: str, index: int = 0) -> int:
    """Seed for one stream of random numbers, such as ("pruner", 0) or ("order", epoch).

    A generator seeded with the plain ``seed`` draws the numbers that made the weights of a model under
    ``torch.manual_seed(seed)``: a random mask ranked by them would keep the largest weights.

    Parameters
    ----------
    seed, index : int
        >= 0.
    stream : str

    Returns
    -------
    int
        In [0, 2^63).

    Raises
    ------
    ValueError
        If a number is negative or no integer.
    """
    seed = validate.integer("seed", seed, "[0, inf)")
    key = (seed, int.from_bytes(stream.encode(), "little"), validate.integer("index", index, "[0, inf)"))
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
