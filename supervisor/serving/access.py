"""Who may administer: anybody on this machine where only this machine can connect, else the holder of the token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.errors import ConfigurationError
from supervisor.serving.errors import ApiError

_OF_BROWSERS = ("origin", "sec-fetch-site", "referer")
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True)
class Access:
    """The rule for one listening address. `name` is what the settings call it by."""

    loopback: bool
    token: str | None = field(repr=False)
    name: str = "localhost"

    @staticmethod
    def to(address: str, token: str | None, name: str = "localhost", setting: str = "serving.host") -> Access:
        """The rule for a bound address. Raises ConfigurationError where others could connect and no token is set."""
        loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        if not loopback and not token:
            own = " set serving.admin_port," if setting == "serving.host" else ""
            raise ConfigurationError(
                [
                    f"{setting}: {address} can be reached by other machines, and no token protects the server's"
                    f" administration; set serving.token_file or INCUMBENT_SERVING__TOKEN,{own} or bind to 127.0.0.1"
                ]
            )
        return Access(loopback, token, name)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises ApiError (401, 403) where a request with these headers may not administer."""
        if any(name in headers for name in _OF_BROWSERS):
            # A browser names the page that asks: no web page has business here, whoever looks at it.
            raise ApiError(403, "cross_origin", "administration is not open to web pages")
        if self._has_token(headers):
            return
        if not self.loopback:
            raise ApiError(401, "unauthorized", "administration needs the bearer token", {"WWW-Authenticate": "Bearer"})
        if any(name in headers for name in _OF_PROXIES):
            # The proxy is on this machine; who asked it need not be.
            told = "a proxy passed this on: administration without the bearer token is for this machine alone"
            raise ApiError(403, "forwarded", told)
        host = headers.get("host", self.name)
        if not _is_of_this_machine(host, self.name):
            # A page may have had its own name resolved to 127.0.0.1, and its browser takes us for its server.
            told = f"asked for as {host[:100]!r}: administration without the bearer token is for localhost alone"
            raise ApiError(403, "wrong_host", told)

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        expected = (self.token or "").encode()
        right = hmac.compare_digest(given.strip().encode(), expected)
        return right and bool(expected) and scheme.lower() == "bearer"


def _is_of_this_machine(host: str, name: str) -> bool:
    """Whether a Host header is an address, or a name that nobody else can have resolved to this machine."""
    bare = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    asked = bare.lower().removesuffix(".")
    if asked == "localhost" or asked.endswith(".localhost") or asked == name.lower():
        return True
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    return True
