"""Whether a request to the object store is signed with a key: AWS Signature Version 4, in the header or in the query.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
The digest of the body that a request names is part of what is signed; it is not compared with the body. The time of a
request counts only where it carries an expiry: a container's clock may be off, and its key ends with it anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote

from flytebuild.runtime.http import Request

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_HEADER = re.compile(rf"{_ALGORITHM} Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{{64}})")
_LONGEST = 7 * 24 * 3600
"""Seconds that a link may be good for, which is S3's own limit."""


class SignatureError(Exception):
    """Raised for a request that carries no signature that can be read, or one that has expired."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request says of its signature; `scope` is `DATE/REGION/SERVICE/aws4_request`."""

    key_id: str
    scope: str
    at: str
    headers: tuple[str, ...]
    signature: str
    is_in_query: bool


def read(request: Request, now: datetime) -> Signature:
    """The signature of a request. Raises SignatureError."""
    if "X-Amz-Signature" in request.query:
        return _from_query(request.query, now)
    found = _HEADER.fullmatch(request.headers.get("authorization", "").strip())
    if not found:
        raise SignatureError("The request is not signed")
    key_id, scope = _credential(found[1])
    headers = tuple(found[2].split(";"))
    if "x-amz-date" not in headers:
        raise SignatureError("The request's time is not signed")
    return _checked(Signature(key_id, scope, request.headers.get("x-amz-date", ""), headers, found[3], False))


def is_made_with(secret: str, signature: Signature, request: Request) -> bool:
    """Whether the signature of a request was made with a key's secret."""
    canonical = "\n".join(
        (
            request.method,
            request.raw_path,
            _query(request.raw_query),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signature.headers),
            "",
            ";".join(signature.headers),
            _UNSIGNED if signature.is_in_query else request.headers.get("x-amz-content-sha256", _UNSIGNED),
        )
    )
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join((_ALGORITHM, signature.at, signature.scope, digest))
    key = f"AWS4{secret}".encode()
    for part in signature.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature.signature)


def _from_query(query: dict[str, str], now: datetime) -> Signature:
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        raise SignatureError("The link is signed in a way that is not known here")
    key_id, scope = _credential(query.get("X-Amz-Credential", ""))
    headers = tuple(query.get("X-Amz-SignedHeaders", "").split(";"))
    signature = _checked(
        Signature(key_id, scope, query.get("X-Amz-Date", ""), headers, query["X-Amz-Signature"], is_in_query=True)
    )
    try:
        begun = datetime.strptime(signature.at, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        lifetime = int(query.get("X-Amz-Expires", ""))
    except ValueError as error:
        raise SignatureError("The link does not say how long it is good for") from error
    if not 0 < lifetime <= _LONGEST or now > begun + timedelta(seconds=lifetime):
        raise SignatureError("The link is not good any longer")
    return signature


def _checked(signature: Signature) -> Signature:
    if "host" not in signature.headers:
        raise SignatureError("The request's host is not signed")
    if not signature.at.startswith(signature.scope.partition("/")[0]):
        raise SignatureError("The request's time is not that of its key")
    return signature


def _credential(text: str) -> tuple[str, str]:
    key_id, _, scope = text.partition("/")
    if not re.fullmatch(r"\d{8}/[a-z0-9-]+/s3/aws4_request", scope):
        raise SignatureError("The request is not signed for this service")
    return key_id, scope


def _query(raw: str) -> str:
    """A query in the form that is signed: encoded anew, sorted, without the signature itself."""
    pairs = parse_qsl(raw, keep_blank_values=True)
    encoded = sorted((quote(name, "-_.~"), quote(value, "-_.~")) for name, value in pairs if name != "X-Amz-Signature")
    return "&".join(f"{name}={value}" for name, value in encoded)
