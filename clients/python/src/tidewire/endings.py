"""How a connection ended, as a type: who comes back, and who stays away (docs/protocol.md, section 14)."""

from __future__ import annotations

import json

from . import errors
from .errors import ConnectionEnded, Problem

_MEANING = {
    1000: "it said good-bye",
    1001: "it said good-bye",
    1005: "without a reason",
    1006: "the line was cut",
    4400: "not its protocol",
    4401: "not authenticated",
    4403: "not allowed",
    4408: "idle or stalled",
    4409: "replaced by a newer producer",
    4413: "too large",
    4429: "too much",
    4500: "its fault",
    4503: "it is draining",
}
_STAY_AWAY: dict[int, tuple[type[ConnectionEnded], str]] = {
    4400: (errors.ProtocolViolation, "update this package, and report it"),
    4401: (errors.Unauthenticated, "give a valid token or key"),
    4403: (errors.Forbidden, "give a token or key with wider grants"),
    4409: (errors.Replaced, "stop this run: a newer one has taken over"),
    4413: (errors.ProtocolViolation, "publish smaller events"),
}
#: An answer's body is looked at no further.
_BODY = 4096


def closed(code: int, reason: str = "") -> ConnectionEnded:
    """The connection ended with that close code."""
    why = reason or _MEANING.get(code, "without a reason")
    text = f"the broker closed the connection: {why} ({code})"
    if code in _STAY_AWAY:
        ending, advice = _STAY_AWAY[code]
        return ending(f"{text}; {advice}", code=code)
    if code in (1005, 1006):
        return errors.Cut(f"the connection was cut ({code})", code=code)
    return errors.ClosedByBroker(text, code=code)


def refused(status: int, body: str = "", retry_after: str | None = None) -> ConnectionEnded:
    """The handshake was answered with that HTTP status, and with `body`."""
    problem = _problem(body)
    said = f": {problem['message']}" if problem and isinstance(problem.get("message"), str) else ""
    if status in (408, 429) or status >= 500:
        return errors.Busy(
            f"the broker cannot take the connection now ({status}){said}",
            code=status,
            retry_after=_after(problem, retry_after),
        )

    def final(ending: type[ConnectionEnded], text: str) -> ConnectionEnded:
        return ending(text, code=status)

    if status == 401:
        return final(
            errors.Unauthenticated, f"the broker does not take this token or key (401){said}; give a valid one"
        )
    if status == 403:
        hint = said or ": this token or key may not connect here"
        return final(errors.Forbidden, f"the broker refused the connection (403){hint}")
    if status == 400 and problem:
        return final(
            errors.NewerServer,
            f"the broker does not speak tidewire.v1.json (400){said}; update this package to one that speaks its version",
        )
    if status == 426:
        return final(
            errors.NotTidewire,
            "something on the way takes the WebSocket upgrade out (426); let the proxy pass `Upgrade` and `Connection`",
        )
    return not_tidewire(f"it answered {status}{_looks_like(body)}", status)


def not_tidewire(what: str, code: int | None = None) -> ConnectionEnded:
    """Whatever answers there is no broker."""
    advice = "check the address, and that no login page of the network stands in between"
    return errors.NotTidewire(f"that address does not speak Tidewire: {what}; {advice}", code=code)


def answered(body: str) -> ConnectionEnded:
    """Something came that is neither a WebSocket handshake nor a frame."""
    return not_tidewire(f"it answered{_looks_like(body) or ' something else'}")


def of_problem(problem: Problem) -> ConnectionEnded:
    """An `error` frame that is about the whole connection."""
    if problem.passes:
        return errors.Busy(str(problem), retry_after=problem.retry_after)
    kinds: dict[str, type[ConnectionEnded]] = {
        "unauthenticated": errors.Unauthenticated,
        "forbidden": errors.Forbidden,
        "producer_fenced": errors.Replaced,
    }
    return kinds.get(problem.code, errors.ProtocolViolation)(str(problem))


def _problem(body: str) -> dict[str, object] | None:
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "code" in problem else None


def _looks_like(body: str) -> str:
    start = body[:_BODY].lstrip().lower()
    return " a page in HTML" if start.startswith(("<!doctype html", "<html", "<head", "<body")) else ""


def _after(problem: dict[str, object] | None, header: str | None) -> float | None:
    ms = (problem or {}).get("retry_after_ms")
    if isinstance(ms, (int, float)) and 0 <= ms < 1e9:
        return ms / 1000
    return float(header) if header and header.isascii() and header.isdigit() else None
