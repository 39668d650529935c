"""Latency, and what was carried, against the load that was offered: up to saturation and past it."""

from matplotlib.figure import Figure

from . import style
from .data import NotMeasured


def draw(curve: dict) -> Figure:
    """`curve` is `curves.load` in curves.json: steps of `tidewire bench stress`."""
    steps = curve.get("steps")
    if not steps:
        raise NotMeasured("curves.json has no steps of it; benches/curves --only load measures them")
    offered = [step["offered_per_s"] for step in steps]
    fig, (latency, carried) = style.figure(2)
    for name, look in [("p99", {}), ("p50", {"linestyle": "--", "markerfacecolor": "white"})]:
        of_steps = [step[f"latency_{name}_ms"] for step in steps]
        latency.plot(offered, of_steps, color=style.BLUE, marker="o", label=name, **look)
    style.logarithmic_y(latency)
    latency.set_title("Latency against load, up to saturation and past it")
    latency.set_ylabel("ms from due until read")
    latency.legend(loc="upper left")
    carried.plot(offered, offered, color=style.GREY, linestyle=":", label="offered")
    carried.plot(offered, [step["delivered_per_s"] for step in steps], color=style.BLUE, marker="o", label="delivered")
    style.logarithmic_x(carried, offered)
    style.logarithmic_y(carried)
    untaken = [(at, step["untaken_per_s"]) for at, step in zip(offered, steps) if step["untaken_per_s"] > 0.02 * at]
    if untaken:
        look = {"color": style.ORANGE, "marker": "v", "linestyle": "none"}
        carried.plot(*zip(*untaken), label="not taken: waited at the sender, or refused", **look)
    carried.set_xlabel(f"events a second offered ({curve['held']})")
    carried.set_ylabel("events a second")
    carried.legend(loc="upper left")
    if curve.get("carried_events_per_s"):
        for axes in (latency, carried):
            axes.axvline(curve["carried_events_per_s"], color=style.GREY, linewidth=0.8, linestyle="--")
    return fig
