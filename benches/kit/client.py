"""A plain client of Tidewire over one connection that is kept: what benches need that `tidewire bench` does not do."""

import http.client
import json
from urllib.parse import urlencode, urlsplit

from .trouble import Trouble


class Client:
    def __init__(self, url: str):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.connection.close()

    def publish(self, topic: str, events: list[dict]) -> None:
        body = json.dumps({"topic": topic, "events": events})
        self._ask("POST", "/v1/publish", body, {"Content-Type": "application/json"})

    def read_once(self, topic: str) -> bytes:
        """What a reader over SSE gets who comes, takes what is there, and goes."""
        return self._ask("GET", "/v1/sse?" + urlencode({"topic": topic, "from": "start", "once": 1}))

    def history(self, topic: str) -> list[dict]:
        """All that is kept, ended messages as one event with their text."""
        query = urlencode({"topic": topic, "from": "start", "limit": 1000, "replay": "compact"})
        return json.loads(self._ask("GET", f"/v1/events?{query}"))["events"]

    def _ask(self, method: str, path: str, body: str | None = None, headers: dict | None = None) -> bytes:
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise Trouble(f"{method} {path}: {answer.status} {said[:200].decode(errors='replace')}")
        return said
