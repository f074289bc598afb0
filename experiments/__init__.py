"""One file = one experiment: it makes data."""

import os
import sys

# a result is the same bit for bit on one machine with one thread; libraries read these as they load
if "numpy" not in sys.modules:
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
