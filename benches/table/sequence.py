"""In which order things are measured: all cases of a block once, then all of them again. So what is compared was
measured one after the other, and what drifts over minutes drifts for all."""

import time

from kit import build
from kit.trouble import Trouble, progress

from . import chats, connections, fanout, growth, requests, streams, topics, workers
from .row import Case, Row
from .sitting import Sitting

# what is compared with one another is in one block
BLOCKS: list[list[Row]] = [
    [*fanout.ROWS, *streams.ROWS],
    [*requests.ROWS],
    [*growth.ROWS],
    [*connections.ROWS],
    [*topics.ROWS],
    [*chats.ROWS],
    [*workers.ROWS],
]
ROWS = sorted((row for block in BLOCKS for row in block), key=lambda row: row.number)


def _cases(rows: list[Row]) -> list[Case]:
    """Each once, in the order in which rows name them."""
    return list({case.name: case for row in rows for case in row.cases}.values())


def run(sitting: Sitting, numbers: set[int], rounds: int) -> None:
    for block in BLOCKS:
        cases = _cases([row for row in block if row.number in numbers])
        for round_ in range(rounds):
            # what is measured less often than others keeps its place in the first rounds
            for case in (case for case in cases if round_ < case.most_rounds):
                _measure(sitting, case, f"round {round_ + 1} of {min(rounds, case.most_rounds)}")


def _measure(sitting: Sitting, case: Case, which: str) -> None:
    notes = sitting.notes.setdefault(case.name, [])
    samples = sitting.samples.setdefault(case.name, [])
    if case.needs_nchan and build.nchan_module() is None:
        return
    begin, figures = time.monotonic(), None
    try:
        figures = case.measure(sitting)
        for warning in figures.get("warnings", []):
            notes.append(warning)
        if figures.get("kept") is False:
            notes.append("events were lost, repeated or out of order")
        said = ""
    except Trouble as trouble:
        notes.append(f"failed: {trouble}")
        said = f": failed: {trouble}"
    samples.append(figures)
    progress(f"{case.name}, {which}, {time.monotonic() - begin:.0f} s{said}")
