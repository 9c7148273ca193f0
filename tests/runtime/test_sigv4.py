"""Signatures: Amazon's own examples, and the client that the SDK uses."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.store import S3Store

from flytebuild.runtime.http import Request
from flytebuild.runtime.sigv4 import Signature, SignatureError, is_made_with, read

NOW = datetime(2013, 5, 24, tzinfo=timezone.utc)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "


def request(method: str, path: str, query: str = "", **headers: str) -> Request:
    async def nothing() -> dict[str, object]:
        raise AssertionError

    return Request(
        {
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        },
        nothing,
    )


def example(signature: str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41") -> Request:
    """`GET Object` of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    names = "host;range;x-amz-content-sha256;x-amz-date"
    return request(
        "GET",
        "/test.txt",
        host="examplebucket.s3.amazonaws.com",
        range="bytes=0-9",
        x_amz_content_sha256=EMPTY,
        x_amz_date="20130524T000000Z",
        authorization=f"{SIGNED}SignedHeaders={names}, Signature={signature}",
    )


def listing() -> Request:
    """`GET Bucket (List Objects)` of the same page."""
    return request(
        "GET",
        "/",
        "max-keys=2&prefix=J",
        host="examplebucket.s3.amazonaws.com",
        x_amz_content_sha256=EMPTY,
        x_amz_date="20130524T000000Z",
        authorization=f"{SIGNED}SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    )


def link(expires: str = "86400") -> Request:
    """The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html."""
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        f"&X-Amz-Date=20130524T000000Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    return request("GET", "/test.txt", query, host="examplebucket.s3.amazonaws.com")


@pytest.mark.parametrize("given", [example(), listing(), link()])
def test_amazons_examples(given: Request) -> None:
    signature = read(given, NOW)
    assert signature.key_id == "AKIAIOSFODNN7EXAMPLE"
    assert is_made_with(SECRET, signature, given)
    assert not is_made_with("another", signature, given)


def test_what_is_signed_cannot_be_changed() -> None:
    for change in ({"method": "PUT"}, {"raw_path": "/other.txt"}, {"raw_query": "uploads="}):
        given = example()
        signature = read(given, NOW)
        for name, value in change.items():
            setattr(given, name, value)
        assert not is_made_with(SECRET, signature, given)
    given = example()
    given.headers["range"] = "bytes=0-99"
    assert not is_made_with(SECRET, read(given, NOW), given)


def test_a_clock_that_is_off_or_steps_locks_no_container_out() -> None:
    for years in (-10, 10):
        assert is_made_with(SECRET, read(example(), NOW + timedelta(days=365 * years)), example())


def test_a_link_ends() -> None:
    assert read(link(), NOW + timedelta(days=1)).is_in_query
    for given, now in ((link(), NOW + timedelta(days=1, seconds=1)), (link("999999999"), NOW), (link("-1"), NOW)):
        with pytest.raises(SignatureError):
            read(given, now)
    given = link("604800")  # Longer than it was signed for.
    assert not is_made_with(SECRET, read(given, NOW), given)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic eDp5",
        f"{SIGNED}SignedHeaders=x-amz-date, Signature={'0' * 64}",
        f"{SIGNED}SignedHeaders=host, Signature={'0' * 64}",
        f"{SIGNED.replace('/s3/', '/ec2/')}SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        f"{SIGNED.replace('20130524', '20130525')}SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        f"{SIGNED}SignedHeaders=host;x-amz-date, Signature=short",
    ],
)
def test_what_is_no_signature(authorization: str) -> None:
    given = example()
    given.headers["authorization"] = authorization
    with pytest.raises(SignatureError):
        read(given, NOW)


def test_links_of_the_sdks_client() -> None:
    options = {"access_key_id": "r1:a0:1", "secret_access_key": SECRET, "region": "us-east-1"}
    store = S3Store("flytebuild", config={**options, "endpoint": "http://127.0.0.1:1/s3"})
    made = urlsplit(obstore.sign(store, "GET", "a b/ü+&", timedelta(minutes=5)))
    given = request("GET", made.path, made.query, host=made.netloc)
    signature = read(given, datetime.now(timezone.utc))
    assert isinstance(signature, Signature)
    assert signature.key_id == "r1:a0:1"
    assert is_made_with(SECRET, signature, given)
