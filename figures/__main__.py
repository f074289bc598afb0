"""``python -m figures``: draws the figures from the records that are there."""

import sys

from figures._driver import main

if __name__ == "__main__":
    sys.exit(main())
