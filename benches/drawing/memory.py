"""Resident memory of a server against connections on which nothing happens."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from . import style
from .data import Line, line


def draw(curve: dict) -> Figure:
    """`curve` is `curves.memory` in curves.json; its figures are KB."""
    fig, [axes] = style.figure()
    for server in style.SERVERS:
        if points := curve["servers"].get(server):
            kb = line(points)
            in_mb = Line(kb.x, *([value / 1024 for value in values] for values in (kb.mid, kb.low, kb.high)))
            each = (kb.mid[-1] - kb.mid[0]) / (kb.x[-1] - kb.x[0])
            style.draw_line(axes, server, in_mb, f"{style.SERVERS[server][0]}: {each:.1f} KB each")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(style.plain))
    axes.set_title("Memory against connections")
    axes.set_xlabel(f"connections ({curve['held']})")
    axes.set_ylabel("MB, resident")
    axes.legend(loc="upper left")
    return fig
