"""Errors that are told in one line, and what stops a tool in good order."""

import signal
import sys


class Trouble(Exception):
    """Something that cannot be measured or started, and why; for a person to read."""


def stop_in_good_order() -> None:
    """SIGTERM ends a tool as Ctrl-C does, so that what it started is stopped, too."""

    def stop(*_) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
