"""How plots look, and how they are written: the same input gives the same bytes."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .data import Line

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        # ids in the SVG depend on what is drawn, not on chance
        "svg.hashsalt": "tidewire",
        # text stays text: small files, and it can be searched and read aloud
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Arial"],
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#888888",
        "axes.labelcolor": "#333333",
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        # a background of its own: pages may be dark
        "savefig.facecolor": "white",
    }
)

BLUE, ORANGE, GREY = "#0b63b5", "#d1660a", "#777777"
# who is drawn how, in every plot; the order is that of the legend
SERVERS = {
    "tidewire_ws": ("Tidewire, WebSocket", {"color": BLUE, "marker": "o"}),
    "tidewire_sse": ("Tidewire, SSE", {"color": BLUE, "marker": "s", "linestyle": "--", "markerfacecolor": "white"}),
    "nchan_ws": ("nginx+nchan, WebSocket", {"color": ORANGE, "marker": "o"}),
    "nchan_sse": ("nginx+nchan, SSE", {"color": ORANGE, "marker": "s", "linestyle": "--", "markerfacecolor": "white"}),
    "floor": ("floor: one write, nothing else", {"color": GREY, "marker": "x", "linestyle": ":"}),
}


def figure(panels: int = 1, heights: list[float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with panels one above the other, which share what is on x."""
    fig = Figure(figsize=(7.5, 2.2 + 1.8 * panels), layout="constrained")
    axes = fig.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=heights)
    return fig, list(axes[:, 0])


def plain(number: float, _=None) -> str:
    return f"{number:,.0f}" if number >= 1 or number == 0 else f"{number:g}"


def logarithmic_x(axes: Axes, at: list[float]) -> None:
    """With the values that were measured as ticks."""
    axes.set_xscale("log")
    axes.set_xticks(sorted(set(at)))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def logarithmic_y(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_line(axes: Axes, server: str, line: Line, label: str | None = None) -> None:
    """The medians as a line, and from the lowest to the highest as a band."""
    name, look = SERVERS[server]
    axes.plot(line.x, line.mid, label=label or name, **look)
    axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.12, linewidth=0)


def save(fig: Figure, file: Path) -> None:
    fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
