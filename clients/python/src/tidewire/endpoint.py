"""Where the broker is and with what to ask: `http://ADDR:PORT` and a token or key that no log ever shows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from .errors import InvalidUse

#: A token or key, or a function (async or not) that gives the present one.
TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]] | None


#: What the broker reads of one.
MAX_TOKEN = 8 << 10
_NO_NAME = re.compile(r"[\x00-\x20\x7f]")


class Endpoint:
    """A broker, and who asks it."""

    def __init__(self, url: str, token: TokenSource = None) -> None:
        """`url`: `http://`, `https://`, `ws://` or `wss://`, optionally with a path under which a proxy serves it."""
        if not isinstance(url, str):
            raise InvalidUse(f"the address of a broker is a str, not {url.__class__.__name__}")
        try:
            parts = urlsplit(url.strip())
        except ValueError as error:
            raise InvalidUse(f"`{url}` is not an address: {error}") from error
        schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
        try:
            port_is_good = parts.port is None or parts.port > 0
        except ValueError:
            port_is_good = False
        if parts.scheme not in schemes or not parts.hostname or not port_is_good:
            raise InvalidUse(f"`{url}` is not an address: write http://HOST:PORT or https://HOST")
        if parts.username is not None or parts.query or parts.fragment:
            raise InvalidUse("the address must not carry a query or a user: give the token or key as an argument")
        path = parts.path.rstrip("/")
        #: The address alone, for people.
        self.base = f"{parts.scheme}://{parts.netloc}{path}"
        self.websocket = f"{schemes[parts.scheme]}://{parts.netloc}{path}/v1/ws"
        host = parts.hostname
        try:
            host.encode("idna")
            is_a_name = not _NO_NAME.search(host)
        except UnicodeError:
            is_a_name = False
        if not is_a_name:
            raise InvalidUse(f"`{host:.80}` is no name of a machine: write http://HOST:PORT or https://HOST")
        #: A proxy of the system's settings is not asked for this machine itself.
        self.is_loopback = (
            host == "localhost" or host.endswith(".localhost") or host.startswith("127.") or host == "::1"
        )
        self._token = token
        if token is not None and not callable(token):
            _checked(token)

    @property
    def token_changes(self) -> bool:
        """Whether asking again may give another token."""
        return callable(self._token)

    async def token(self) -> str | None:
        """The token of the next connection."""
        token = self._token
        if callable(token):
            given = token()
            token = await given if inspect.isawaitable(given) else given
        return _checked(token) if token else None

    def __repr__(self) -> str:
        return f"Endpoint({self.base!r})"


def _checked(token: str) -> str:
    if not isinstance(token, str):
        raise InvalidUse(f"a token or key is a str, not {token.__class__.__name__}")
    token = token.strip()
    if len(token) > MAX_TOKEN:
        raise InvalidUse(f"the token has {len(token)} characters, and a broker reads {MAX_TOKEN}: is it a token?")
    if not token.isascii() or not all("!" <= char <= "~" for char in token):
        raise InvalidUse("the token has characters that no token has (spaces, line breaks or other controls)")
    return token
