"""`tidewire bench`, pinned to a core of its own, and what it measured."""

import json
import subprocess
from pathlib import Path

from . import machine
from .servers import Server
from .trouble import Trouble

# beyond the time that a scenario measures: connecting, settling, erasing
PATIENCE_S = 240.0
# exit status of a bench whose broker lost, repeated or reordered something: measured, and worth telling
BROKEN = 3


def _command(program: Path, scenario: str, server: Server, options: dict, core: str) -> list[str]:
    command = ["taskset", "-c", core, str(program), "bench", scenario, "--url", server.url, "--json", "--quiet"]
    for pid in server.pids:
        command += ["--pid", str(pid)]
    if server.name != "tidewire":
        command += ["--against", "raw"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return command


def start(program: Path, scenario: str, server: Server, core: str = machine.LOAD_CORE, **options) -> subprocess.Popen:
    """A bench under way; options are those of the command, with `_` for `-`. See `result`."""
    command = _command(program, scenario, server, options, core)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def result(bench: subprocess.Popen) -> dict:
    """The JSON object of docs/bench.md, once the bench ended; Trouble with the reason where it did not measure."""
    try:
        out, err = bench.communicate(timeout=PATIENCE_S)
    except BaseException as error:
        bench.kill()
        bench.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Trouble(f"the bench did not end within {PATIENCE_S:.0f} s") from None
        raise
    if bench.returncode not in (0, BROKEN):
        raise Trouble(f"the bench ended with status {bench.returncode}: {_last_line(err) or 'it said nothing'}")
    return json.loads(out)


def bench(program: Path, scenario: str, server: Server, core: str = machine.LOAD_CORE, **options) -> dict:
    return result(start(program, scenario, server, core, **options))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
