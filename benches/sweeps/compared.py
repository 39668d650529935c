"""Measures a sweep: at each point all servers one after the other, and that several times."""

from pathlib import Path

from kit.load import bench
from kit.stats import spread
from kit.trouble import Trouble, progress

from .peers import Peer
from .points import Sweep


def measured(tidewire: Path, name: str, sweep: Sweep, peers: dict[str, Peer], seconds: float, rounds: int) -> dict:
    """A member of `curves` in curves.json. What could not be measured is told, in `failed`, and left out."""
    values: dict[str, dict[int, list[float]]] = {peer: {at: [] for at in sweep.at} for peer in sweep.peers if peer in peers}
    warnings: list[str] = []
    failed: list[str] = []
    for turn in range(rounds):
        for at in sweep.at:
            for peer in values:
                what = f"{name} {at}, {peer}"
                options = sweep.options(at, seconds)
                try:
                    with peers[peer].start() as server:
                        result = bench(tidewire, sweep.scenario, server, transport=peers[peer].transport, **options)
                    value = sweep.figure(result["figures"])
                except KeyError as figure:
                    failed.append(f"{what}: the bench gave no {figure}")
                except Trouble as trouble:
                    failed.append(f"{what}: {trouble}")
                else:
                    values[peer][at].append(value)
                    warnings += [f"{what}: {warning}" for warning in result["warnings"]]
                    progress(f"round {turn + 1} of {rounds}: {what}: {value:,.2f} {sweep.unit}")
                    continue
                progress(failed[-1])
    servers = {peer: [point(at, found) for at, found in by_at.items() if found] for peer, by_at in values.items()}
    return {"unit": sweep.unit, "held": sweep.held, "servers": servers, "warnings": warnings, "failed": failed}


def point(at: int, values: list[float]) -> dict:
    found = spread(values)
    return {"at": at, "median": found.mid, "min": found.low, "max": found.high, "rounds": values}
