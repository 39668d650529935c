"""When a token ends, and how long before that another one is fetched. All times are seconds.

Only what a JSON Web Token says of itself is looked at: whether it is good is for the broker to say. An API key has no
end that could be read here.
"""

from __future__ import annotations

import base64
import binascii
import json

#: The `id` of a `refresh` frame; publishes and subscriptions have numbers.
REFRESH_ID = "refresh"
#: A new token is fetched so long before the old one ends, or after nine tenths of what is left of it.
MARGIN = 60.0
#: And never more often than this.
SHORTEST = 1.0


def ends_at(token: str | None) -> float | None:
    """The `exp` of a JSON Web Token, in Unix seconds; None where there is none."""
    middle = token.split(".")[1] if token and token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, binascii.Error):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, (int, float)) else None


def wait_for(end: float, now: float) -> float:
    """How long to wait before a token that ends then is replaced."""
    left = max(end - now, 0.0)
    return max(left - min(MARGIN, left / 10), SHORTEST)
