"""The curve of a load that is raised until the broker is saturated, and past it: the steps of `tidewire bench stress`."""

from pathlib import Path

from kit.load import bench
from kit.servers import Tidewire
from kit.stats import median
from kit.trouble import Trouble, progress

TOPICS = 100
FIGURES = ["latency_p50_ms", "latency_p99_ms", "deliveries_per_s", "acknowledged_per_s"]


def measured(tidewire: Path, seconds: float, rounds: int) -> dict:
    """`curves.load` in curves.json: the medians of each step, and of the step after the load was gone."""
    runs, failed = [], []
    for turn in range(rounds):
        try:
            with Tidewire(tidewire) as server:
                runs.append(bench(tidewire, "stress", server, topics=TOPICS, step=seconds))
        except Trouble as trouble:
            failed.append(f"load: {trouble}")
            progress(failed[-1])
            continue
        figures = runs[-1]["figures"]
        progress(
            f"round {turn + 1} of {rounds}: load: carried {figures['carried_events_per_s']:,.0f} events a second, "
            f"limited by {figures['limited_by']}, {figures['refused']} refused"
        )
    curve = {"unit": "ms from due until read", "held": f"{TOPICS} topics with one reader each, over WebSocket", "failed": failed}
    if runs:
        curve |= {
            "steps": steps(runs),
            "afterwards": {name: middle(runs, "afterwards", name) for name in FIGURES},
            "carried_events_per_s": median(run["figures"]["carried_events_per_s"] for run in runs),
            "caught_up_after_ms": median(run["figures"]["caught_up_after_ms"] for run in runs),
            "limited_by": [run["figures"]["limited_by"] for run in runs],
            "refused": [run["figures"]["refused"] for run in runs],
            "kept": [run["kept"] for run in runs],
            "warnings": [warning for run in runs for warning in run["warnings"]],
        }
    return curve


def steps(runs: list[dict]) -> list[dict]:
    """Steps are called by what is offered, such as `2000/s`; not every run goes as far as the others. A step in which
    nobody read anything has no latency, and is left out."""
    names = {phase["name"] for run in runs for phase in run["phases"]} - {"afterwards"}
    found = []
    for name in sorted(names, key=lambda name: float(name.removesuffix("/s"))):
        offered = float(name.removesuffix("/s"))
        figures = [middle(runs, name, figure) for figure in FIGURES]
        if None in figures:
            continue
        p50, p99, delivered, acknowledged = figures
        found.append(
            {
                "offered_per_s": offered,
                "latency_p50_ms": p50,
                "latency_p99_ms": p99,
                "delivered_per_s": delivered,
                # at one reader a topic both count the same events
                "untaken_per_s": max(0.0, offered - acknowledged),
                "of_rounds": sum(phase["name"] == name for run in runs for phase in run["phases"]),
            }
        )
    return found


def middle(runs: list[dict], name: str, figure: str) -> float | None:
    phases = [phase for run in runs for phase in run["phases"] if phase["name"] == name]
    values = [phase[figure] for phase in phases if figure in phase]
    return median(values) if values else None
