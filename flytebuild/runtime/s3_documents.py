"""The documents of S3's protocol: what is read from those that come, and those that are the answers.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from flytebuild.runtime.storage import Entry

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class DocumentError(ValueError):
    """Raised for a document that is not read; says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `next_key` continues it."""

    entries: list[Entry]
    prefixes: list[str]
    next_key: str | None


def paginate(entries: Iterable[Entry], prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """One page of a sorted listing: keys that go on behind a delimiter are folded into their common prefix."""
    found: list[Entry] = []
    folded: list[str] = []
    last = ""
    for entry in entries:
        name = entry.key
        if delimiter and (cut := entry.key.find(delimiter, len(prefix))) >= 0:
            name = entry.key[: cut + len(delimiter)]
        if name <= after or (folded and name == folded[-1]):
            continue
        if len(found) + len(folded) == limit:
            return Page(found, folded, last)
        last = name
        if name == entry.key:
            found.append(entry)
        else:
            folded.append(name)
    return Page(found, folded, None)


def listing(bucket: str, prefix: str, limit: int, page: Page) -> str:
    """The answer to who asked for a listing of at most `limit` names."""
    contents = "".join(
        f"<Contents><Key>{escape(entry.key)}</Key><LastModified>{_instant(entry.modified)}</LastModified>"
        f"<ETag>{escape(entry.tag)}</ETag><Size>{entry.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for entry in page.entries
    )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(item)}</Prefix></CommonPrefixes>" for item in page.prefixes)
    token = f"<NextContinuationToken>{escape(page.next_key)}</NextContinuationToken>" if page.next_key else ""
    return (
        f"<ListBucketResult {NAMESPACE}><Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(page.entries) + len(page.prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
        f"<IsTruncated>{'true' if page.next_key else 'false'}</IsTruncated>{token}{contents}{common}"
        "</ListBucketResult>"
    )


def copied(what: str, tag: str) -> str:
    """The answer to who had an `Object`, or a `Part` of one, copied."""
    return (
        f"<Copy{what}Result><ETag>{escape(tag)}</ETag><LastModified>{_instant(time.time())}</LastModified>"
        f"</Copy{what}Result>"
    )


def texts(document: bytes, name: str) -> Iterator[str]:
    """The texts of all elements of one name, whatever their namespace. Raises DocumentError."""
    try:
        # As text, since another encoding, which a document may name itself, would hide what is looked for here.
        text = document.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DocumentError("Document types are not accepted")
        tree = ElementTree.fromstring(text)  # noqa: S314 - without document types there are no entities to expand
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise DocumentError("The document cannot be read") from error
    return (item.text or "" for item in tree.iter() if item.tag.rpartition("}")[2] == name)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
