"""Signs requests to the object store, as clients of S3 do: httpx's way to add credentials."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator
from datetime import datetime, timezone

import httpx


class Signer(httpx.Auth):
    """Signature Version 4 in the header, over the host, the time and the body's digest."""

    requires_request_body = True

    def __init__(self, key_id: str, secret: str) -> None:
        self._key_id = key_id
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        at = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        body = hashlib.sha256(request.content).hexdigest()
        request.headers.update({"x-amz-date": at, "x-amz-content-sha256": body})
        names = sorted({"host", "x-amz-date", "x-amz-content-sha256"})
        path, _, query = request.url.raw_path.decode().partition("?")
        pairs = sorted(item if "=" in item else f"{item}=" for item in query.split("&") if item)
        canonical = "\n".join(
            [request.method, path, "&".join(pairs)]
            + [f"{name}:{request.headers[name]}" for name in names]
            + ["", ";".join(names), body]
        )
        scope = f"{at[:8]}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in [*scope.split("/"), text]:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signed = f"SignedHeaders={';'.join(names)}, Signature={key.hex()}"
        request.headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={self._key_id}/{scope}, {signed}"
        yield request
