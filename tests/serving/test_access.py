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


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://example.org"},
        {"origin": "null"},
        {"origin": "http://localhost:8080"},  # a page that our own port seems to have sent
        {"sec-fetch-site": "same-origin"},  # no Origin: an odd browser, or a form
        {"sec-fetch-site": "none"},
        {"referer": "http://example.org/form.html", "content-type": "text/plain"},
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_web_page_may_not_administer_even_on_loopback_and_with_the_token(
    address: str, headers: dict[str, str]
) -> None:
    assert status_of(Access.to(address, TOKEN), authorization=f"Bearer {TOKEN}", **headers) == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("localhost.:8080", 200),
        ("server.localhost", 200),
        ("127.0.0.1:8080", 200),
        ("127.1.2.3", 200),
        ("[::1]:8080", 200),
        ("[fe80::1%eth0]", 200),
        ("game-host:8080", 200),  # as the settings call it
        ("evil.example:8080", 403),  # resolved to 127.0.0.1 by whoever owns the name
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("notlocalhost", 403),
        ("[evil.example]", 403),
        ("", 403),
    ],
)
def test_on_loopback_it_is_asked_for_by_an_address_or_a_name_of_this_machine(host: str, status: int) -> None:
    assert status_of(Access.to("127.0.0.1", TOKEN, "game-host"), host=host) == status
    assert status_of(Access.to("127.0.0.1", TOKEN), host=host, authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"])
def test_what_a_proxy_passes_on_is_not_of_this_machine(header: str) -> None:
    access = Access.to("127.0.0.1", TOKEN)
    assert status_of(access, host="127.0.0.1:8080", **{header: "192.0.2.7"}) == 403
    assert status_of(access, authorization=f"Bearer {TOKEN}", **{header: "192.0.2.7"}) == 200
