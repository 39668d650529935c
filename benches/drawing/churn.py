"""Memory of the broker through an hour of mixed churn, with what it holds meanwhile."""

from matplotlib.figure import Figure

from . import style


def draw(columns: dict[str, list[float]]) -> Figure:
    minutes = [seconds / 60 for seconds in columns["seconds"]]
    fig, (memory, connections, topics) = style.figure(3, heights=[2, 1, 1])
    memory.plot(minutes, [kb / 1024 for kb in columns["rss_kb"]], color=style.BLUE, linewidth=1.2, label="resident memory")
    memory.plot(minutes, [log / 2**20 for log in columns["log_bytes"]], color=style.GREY, linewidth=1, label="of which logs")
    memory.set_title("One broker under mixed churn")
    memory.set_ylabel("MB")
    memory.legend(ncols=2, loc="lower right")
    for axes, name in [(connections, "connections"), (topics, "topics")]:
        axes.plot(minutes, columns[name], color=style.ORANGE, linewidth=0.8)
        axes.set_ylabel(name)
    for axes in (memory, connections, topics):
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, minutes[-1])
    topics.set_xlabel("minutes")
    return fig
