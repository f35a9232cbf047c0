"""Administration is for this machine, or for the holder of the token."""

from __future__ import annotations

import pytest

from supervisor.errors import ConfigurationError
from supervisor.serving.access import Access
from supervisor.serving.errors import ApiError

TOKEN = "s3cret-token"


def status_of(access: Access, **headers: str) -> int:
    try:
        access.check(headers)
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_nobody_else_can_connect_to_loopback_so_no_token_is_needed(address: str) -> None:
    assert status_of(Access.to(address, None)) == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0"])
def test_an_address_others_can_reach_needs_a_token(address: str) -> None:
    for token in (None, ""):
        with pytest.raises(ConfigurationError, match="token"):
            Access.to(address, token)
    assert not Access.to(address, TOKEN).loopback


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        ("Bearer \xe9", 401),
        ("", 401),
    ],
)
def test_only_the_right_bearer_token_opens(authorization: str, status: int) -> None:
    assert status_of(Access.to("0.0.0.0", TOKEN), authorization=authorization) == status


def test_a_request_without_any_header_does_not_open() -> None:
    assert status_of(Access.to("0.0.0.0", TOKEN)) == 401


def test_a_web_page_may_not_administer_even_on_loopback() -> None:
    assert status_of(Access.to("127.0.0.1", None), origin="http://example.org") == 403
