"""``python -m experiments``: makes the records that figures and checks stand on."""

import sys

from experiments._driver import main

if __name__ == "__main__":
    sys.exit(main())
