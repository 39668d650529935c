#!/usr/bin/env python3
"""What comes on standard input becomes one live answer, as it comes: see pipe.sh."""

from __future__ import annotations

import codecs
import os
import sys

from tidewire import TidewireError
from tidewire.sync import Agent

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:7070")
KEY = os.environ.get("TIDEWIRE_TOKEN")


def main(topic: str) -> None:
    # a character may be cut in two between reads
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with Agent(URL, KEY, producer="example-pipe") as agent, agent.message(topic) as m:
        while not m.cancelled:
            piece = os.read(0, 65536)
            m.delta(decoder.decode(piece, final=not piece))
            if not piece:
                break


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: some-program | pipe.py TOPIC")
    try:
        main(sys.argv[1])
    except TidewireError as error:
        sys.exit(f"pipe.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # the answer was interrupted, and its readers know
