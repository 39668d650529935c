"""Holds threads to a share of a core, so that on a small machine they are the limit and the generator is not.

With Linux's control groups, version 1 (`cpu` mounted, and root), where each thread can have a group of its own.
"""

import os
from pathlib import Path

from . import proc
from .trouble import Trouble

CPU = Path("/sys/fs/cgroup/cpu")
# short, so that who used its share waits for milliseconds
PERIOD_US = 10_000


def is_possible() -> bool:
    return (CPU / "cpu.cfs_quota_us").exists() and os.access(CPU, os.W_OK)


class Quota:
    """Each thread of that name gets `share` of a core, and the next core."""

    def __init__(self, pid: int, thread: str, share: float, cores: list[int]):
        self.threads = proc.threads(pid, thread)
        if not self.threads:
            raise Trouble(f"the broker has no thread {thread!r}")
        self.share, self.cores = share, cores
        self.groups: list[Path] = []

    def __enter__(self):
        try:
            for at, thread in enumerate(self.threads):
                group = CPU / f"tidewire-bench-{thread}"
                group.mkdir()
                self.groups.append(group)
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(round(PERIOD_US * self.share)))
                (group / "tasks").write_text(str(thread))
                os.sched_setaffinity(thread, {self.cores[at % len(self.cores)]})
        except OSError as error:
            self.__exit__()
            raise Trouble(f"threads cannot be held to a share of a core: {error}") from error
        return self

    def __exit__(self, *_) -> None:
        for group, thread in zip(self.groups, self.threads):
            try:
                (CPU / "tasks").write_text(str(thread))
            except OSError:
                pass  # it has ended
            group.rmdir()
