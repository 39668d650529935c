#!/usr/bin/env python3
"""An agent that answers word by word, as a model would, and stops when a client asks it to.

TIDEWIRE_URL=http://127.0.0.1:7070 python agent.py /chat/42 "What is the tide?"

Cancel it while it writes:

curl "$TIDEWIRE_URL/v1/publish" -H 'Content-Type: application/json' \
  -d '{"topic":"/chat/42","events":[{"type":"run.cancel","data":{}}]}'
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from tidewire import Agent, TidewireError

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:7070")
KEY = os.environ.get("TIDEWIRE_TOKEN")


async def model(question: str) -> AsyncIterator[str]:
    """Stands where your model's stream is."""
    for word in f"You asked: {question} The sea rises and falls twice a day, drawn by moon and sun.".split():
        yield word + " "
        await asyncio.sleep(0.03)


async def answer(topic: str, question: str) -> None:
    async with Agent(URL, KEY, producer="example-agent") as agent:
        async with agent.tool(topic, "look_up", query=question) as call:
            call.result(found=1)
        async with agent.message(topic) as m:
            async for word in model(question):
                if m.cancelled:
                    break
                await m.delta(word)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: agent.py TOPIC QUESTION")
    try:
        asyncio.run(answer(sys.argv[1], sys.argv[2]))
    except TidewireError as error:
        sys.exit(f"agent.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # the answer was interrupted, and its readers know
