"""The programs that are measured: built by cargo (release) where they are missing, or found on this machine."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from .trouble import Trouble

ROOT = Path(__file__).resolve().parent.parent.parent
HOW_TO_GET_NCHAN = "nginx with nchan (Debian: apt-get install nginx-light libnginx-mod-nchan)"
MODULE = "ngx_nchan_module.so"
MODULE_FOLDERS = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"]


def _cargo(*what: str, name: str) -> Path:
    """Builds a target; cargo says where it is."""
    if not shutil.which("cargo"):
        raise Trouble("missing: cargo; install Rust with rustup, 1.93 or newer")
    command = ["cargo", "build", "--release", "--locked", *what, "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command[:-2])} failed: see above")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for message in reversed(messages):
        if message.get("executable") and message.get("target", {}).get("name") == name:
            return Path(message["executable"])
    raise Trouble(f"cargo built no {name}")


def _given(path: str, option: str) -> Path:
    if not os.access(path, os.X_OK):
        raise Trouble(f"{option} {path}: no program is there")
    return Path(path).resolve()


def tidewire(given: str | None = None) -> Path:
    return _given(given, "--tidewire") if given else _cargo("--bin", "tidewire", name="tidewire")


def peers(given: str | None = None) -> Path:
    """The program of benches/peers."""
    return _given(given, "--peers") if given else _cargo("--bench", "peers", name="peers")


@cache
def nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@cache
def nchan_module() -> Path | None:
    if nginx() is None:
        return None
    return next((path for folder in MODULE_FOLDERS if (path := Path(folder, MODULE)).exists()), None)
