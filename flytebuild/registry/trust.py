"""The certificates that answers of registries are checked with."""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpx


def trusted() -> ssl.SSLContext:
    """What httpx trusts by default, read once: that takes 30 ms, which every one of its clients would spend anew."""
    return _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _trusted(*_: str | None) -> ssl.SSLContext:
    """By the variables that httpx looks at."""
    return httpx.create_ssl_context()
