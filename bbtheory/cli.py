"""What all command lines share: parser, exit codes, one-line errors and warnings.

Results go to stdout, everything else to stderr. Exit 0: an answer; 1: not converged or could not run;
2: bad input, one line after the usage; 130: interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import bbtheory
from bbtheory.records import ConvergenceError

ANSWERED, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# no fault of the input: a disk or a quota is full, a file would be too large for it, a device fails
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def make_parser(prog: str, description: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with --version and the examples below its help."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bbtheory {bbtheory.__version__}")
    return parser


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"warning: {_one_line(message)}", file=sys.stderr)


def run(
    parser: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, run ``body`` and turn what it raises into the exit code and one line on stderr."""
    args = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", UserWarning)
        try:
            status = body(args)
            sys.stdout.flush()
            return status
        except ConvergenceError as error:
            print(f"{parser.prog}: not converged: {_one_line(error)}", file=sys.stderr)
            return FAILED
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                # the reader of our output left (``| head``); keep Python from complaining about it at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return ANSWERED
            named = f"{error.filename}: " if error.filename else ""
            message = _one_line(f"{named}{error.strerror or error}")
            if error.errno in _NO_ROOM:
                print(f"{parser.prog}: {message}", file=sys.stderr)
                return FAILED
            parser.error(message)
        except ValueError as error:
            if not hides_interrupt(error):
                parser.error(_one_line(error))
        except KeyboardInterrupt:
            pass
    print(f"{parser.prog}: interrupted", file=sys.stderr)
    return INTERRUPTED


def hides_interrupt(error: BaseException) -> bool:
    """Say whether an error came of an interrupt: archives that are cut off in mid-write fail to close."""
    while error.__context__ is not None:
        error = error.__context__
        if isinstance(error, KeyboardInterrupt):
            return True
    return False
