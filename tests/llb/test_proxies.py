"""Which of the host's proxies steps are told of."""

from __future__ import annotations

import pytest

from flytebuild.llb.proxies import Proxies, proxies_of


def test_small_letters_come_first_and_capitals_count() -> None:
    found = proxies_of({"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:1", "HTTPS_PROXY": "c:2", "NO_PROXY": "d"})
    assert found.variables() == {"HTTP_PROXY": "http://a:1", "HTTPS_PROXY": "c:2", "NO_PROXY": "d"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:3128", "localhost:3128", "http://user:pw@[::1]:3128", "127.1.2.3:1"])
def test_one_on_the_hosts_own_loopback_address_is_left_out(url: str) -> None:
    assert not proxies_of({"HTTP_PROXY": url, "NO_PROXY": "localhost"})


@pytest.mark.parametrize("url", ["http://proxy.corp:3128", "10.0.0.1:3128", "http://[not an address"])
def test_others_are_not(url: str) -> None:
    assert proxies_of({"HTTP_PROXY": url}).http_proxy == url


def test_an_image_that_has_its_own_keeps_it() -> None:
    found = proxies_of({"HTTP_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:1"})
    assert found.without({"http_proxy": "http://own"}).variables() == {"HTTPS_PROXY": "http://b:1"}
    assert found.without({"HTTPS_PROXY": ""}).variables() == {"HTTP_PROXY": "http://a:1"}


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Proxies(http_proxy="http://me:s3cret@proxy:1"))
