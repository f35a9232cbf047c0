"""Who may administer: anybody on this machine where only this machine can connect, else the holder of the token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.errors import ConfigurationError
from supervisor.serving.errors import ApiError


@dataclass(frozen=True)
class Access:
    """The rule for one listening address."""

    loopback: bool
    token: str | None = field(repr=False)

    @staticmethod
    def to(address: str, token: str | None) -> Access:
        """The rule for a bound address. Raises ConfigurationError where others could connect and no token is set."""
        loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        if not loopback and not token:
            raise ConfigurationError(
                [
                    f"serving.host: {address} can be reached by other machines, and no token protects the server's"
                    " administration; set serving.token_file or INCUMBENT_SERVING__TOKEN, or bind to 127.0.0.1"
                ]
            )
        return Access(loopback, token)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises ApiError (401, 403) where a request with these headers may not administer."""
        if "origin" in headers:
            # A browser names the page that asks: no web page has business here, whoever looks at it.
            raise ApiError(403, "cross_origin", "administration is not open to web pages")
        if self.loopback:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        expected = (self.token or "").encode()
        right = hmac.compare_digest(given.strip().encode(), expected)
        if scheme.lower() != "bearer" or not expected or not right:
            raise ApiError(401, "unauthorized", "administration needs the bearer token", {"WWW-Authenticate": "Bearer"})
