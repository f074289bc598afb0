"""``python -m paper_checks``: judges the claims of both papers and of the package's own theory."""

import sys

from paper_checks._driver import main

if __name__ == "__main__":
    sys.exit(main())
