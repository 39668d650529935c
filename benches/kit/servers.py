"""Servers to measure: each a fresh process on a free port of loopback, pinned to a core, stopped at the end.

    with Tidewire(program) as server:
        server.url, server.pids
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from . import build, machine, nginx_config, proc
from .trouble import Trouble

READY_WITHIN_S = 20.0
STOPPED_WITHIN_S = 10.0


class Server:
    """A process that says on standard output where it listens. Its errors are kept, for whoever asks why it ended."""

    name = "server"

    def __init__(self, command: list[str], cores: str = machine.SERVER_CORE):
        self.command = ["taskset", "-c", cores, *command]
        self.process: subprocess.Popen | None = None
        self.url = ""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidewire-bench-"))
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        if not shutil.which("taskset"):
            raise Trouble("missing: taskset (Debian: apt-get install util-linux)")
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            # a session of its own: Ctrl-C goes to the tool, which stops its servers in order
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended with status {self.process.returncode}: {self.last_words()}")
            if self.is_ready():
                return
            time.sleep(0.02)
        raise Trouble(f"{self.name} was not ready within {READY_WITHIN_S:.0f} s: {self.last_words()}")

    def is_ready(self) -> bool:
        said = re.search(r"listening on (?:http://)?([\d.]+:\d+)", (self.folder / "out").read_text())
        if said:
            self.url = f"http://{said.group(1)}"
        return said is not None

    def last_words(self) -> str:
        lines = (self.folder / "err").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                # with its children: its session is its own
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        """Whose cost is the server's. taskset becomes the program, so this is the server itself."""
        return [self.process.pid]

    def rss_kib(self) -> int:
        return sum(map(proc.rss_kib, self.pids))


class Tidewire(Server):
    name = "tidewire"

    def __init__(self, program: Path, *settings: str, workers: int = 1, cores: str = machine.SERVER_CORE):
        serve = [str(program), "serve", "--listen", "127.0.0.1:0", "--allow-anonymous", "--log-level", "warn"]
        # what is measured is over when it is stopped: nobody waits for readers to take what is theirs
        super().__init__([*serve, "--drain-timeout", "0s", "--workers", str(workers), *settings], cores)

    def metrics(self) -> dict[str, float]:
        """Gauges and counters by name, without labels summed up."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name = re.split(r"[ {]", line, maxsplit=1)[0]
                sums[name] = sums.get(name, 0.0) + float(line.split()[-1])
        return sums


class Floor(Server):
    """benches/peers: one write a delivery, and nothing else."""

    name = "floor"

    def __init__(self, program: Path, by_path: bool = False):
        super().__init__([str(program), "floor", "127.0.0.1:0", *(["--by-path"] if by_path else [])])


class Post(Server):
    """benches/peers: a trivial actix-web handler of a publish."""

    name = "post"

    def __init__(self, program: Path):
        super().__init__([str(program), "post", "127.0.0.1:0"])


class Nchan(Server):
    """nginx with nchan: a master, and the one worker whose cost is measured."""

    name = "nginx+nchan"

    def __init__(self, workers: int = 1):
        if build.nchan_module() is None:
            raise Trouble(f"missing: {build.HOW_TO_GET_NCHAN}")
        self.workers = workers
        super().__init__([])

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = self.folder / "nginx.conf"
        config.write_text(nginx_config.written(self.folder, port, self.workers))
        self.url = f"http://127.0.0.1:{port}"
        errors = str(self.folder / "err")
        self.command += [build.nginx(), "-p", str(self.folder), "-e", errors, "-c", str(config)]
        super().start()

    def is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])), timeout=1).close()
        except OSError:
            return False
        return len(self.pids) == self.workers

    @property
    def pids(self) -> list[int]:
        return [pid for pid in proc.children(self.process.pid) if proc.command(pid).startswith("nginx: worker")]
