"""What is measured on: processor, cores, kernel, versions; and on which cores servers and the generator run."""

import datetime
import os
import platform
import re
import resource
import subprocess
from pathlib import Path

from . import build

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = str(CORES[0])
# the generator is one thread; on a machine with one core both share it, and nothing is worth much
LOAD_CORE = str(CORES[1] if len(CORES) > 1 else CORES[0])
ALL_CORES = ",".join(map(str, CORES))


def raise_open_files() -> int:
    """As many open files as this process, and so what it starts, may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _processor() -> str:
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        name = None
    return name.group(1) if name else platform.machine()


def nchan_version() -> str | None:
    """As the distribution names its package; the module itself does not say."""
    return _first_line("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan")


def described(tidewire: Path) -> dict[str, str]:
    nginx = build.nginx()
    version = _first_line(nginx, "-v") if nginx else None
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": str(len(CORES)),
        "kernel": f"{platform.system()} {platform.release()}",
        "tidewire": (_first_line(str(tidewire), "--version") or "unknown").removeprefix("tidewire "),
        "commit": _first_line("git", "-C", str(build.ROOT), "describe", "--always", "--dirty") or "unknown",
        "nginx": version.removeprefix("nginx version: nginx/") if version else "missing",
        "nchan": (nchan_version() or "unknown") if build.nchan_module() else "missing",
    }
