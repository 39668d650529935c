"""CPU of a server for each delivery: against readers, topics and rate."""

from matplotlib.figure import Figure

from . import style
from .data import line

PLOTS = {
    "readers": "readers of one topic",
    "topics": "topics with one reader each",
    "rate": "events a second",
}


def draw(name: str, curve: dict) -> Figure:
    """`curve` is a member of `curves` in curves.json."""
    fig, [axes] = style.figure()
    at: list[float] = []
    for server in style.SERVERS:
        if points := curve["servers"].get(server):
            style.draw_line(axes, server, line(points))
            at += [point["at"] for point in points]
    style.logarithmic_x(axes, at)
    axes.set_ylim(bottom=0)
    axes.set_title(f"Cost of a delivery against {PLOTS[name]}")
    axes.set_xlabel(f"{PLOTS[name]} ({curve['held']})")
    axes.set_ylabel("µs of server CPU")
    fig.legend(loc="outside lower center", ncols=2)
    return fig
