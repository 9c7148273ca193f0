"""Links that allow one request for one object for a while, and the application that honours them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote, urlencode

from flytebuild.runtime.http import BodyError, Receive, Request, Response, Scope, Send, text_response
from flytebuild.runtime.model import now
from flytebuild.runtime.s3 import MAX_OBJECT
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store

PREFIX = "/objects/"


class Links:
    """Signs links with the data folder's secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def make(self, method: str, uri: str, lifetime: float, md5: str = "") -> str:
        """The path and query of a link that allows `method` on an object for `lifetime` seconds.

        `md5` is the digest of the only content that the object may get.
        """
        expires = str(int(now().timestamp() + lifetime))
        path = PREFIX + uri.removeprefix("s3://")
        signature = self._sign(method, path, expires, md5)
        return f"{quote(path)}?{urlencode({'expires': expires, 'md5': md5, 'signature': signature})}"

    def allows(self, request: Request) -> bool:
        """Whether a request is what a link of ours allows, now."""
        expires = request.query.get("expires", "")
        expected = self._sign(request.method, request.path, expires, request.query.get("md5", ""))
        given = request.query.get("signature", "")
        return hmac.compare_digest(given.encode(), expected.encode()) and now().timestamp() < int(expires)

    def _sign(self, method: str, path: str, expires: str, md5: str) -> str:
        message = "\n".join((method, path, expires, md5)).encode()
        return base64.urlsafe_b64encode(hmac.new(self._secret, message, hashlib.sha256).digest()).decode().rstrip("=")


class Transfer:
    """An ASGI application: PUT and GET of single objects by signed links."""

    def __init__(self, store: Store, links: Links) -> None:
        self._store = store
        self._links = links

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except (ObjectNameError, BodyError) as error:
            response = text_response(f"{error}\n", 400)
        except OSError as error:
            # A disk that is full, or a store of the user's own that does not answer.
            response = text_response(f"the object cannot be read or written: {error.strerror or error}\n", 507)
        await response.send(send)

    async def _answer(self, request: Request) -> Response:
        if not self._links.allows(request):
            return text_response("this link is not valid, or no longer\n", 403)
        uri = f"s3://{request.path.removeprefix(PREFIX)}"
        if request.method == "PUT":
            return await self._receive(uri, request)
        size = await self._store.size(uri)
        if size is None:
            return text_response("there is no such object\n", 404)
        pieces = self._store.reading(uri)
        headers = (("content-length", str(size)), ("content-disposition", "attachment"))
        return Response(200, b"", "application/octet-stream", headers, pieces)

    async def _receive(self, uri: str, request: Request) -> Response:
        digest = hashlib.md5(usedforsecurity=False)
        async with self._store.writing(uri) as writer:
            async for piece in request.stream(MAX_OBJECT):
                digest.update(piece)
                await writer.write(piece)
            # Objects are named by their digest, so a broken upload would be found again by everybody.
            if digest.hexdigest() != request.query.get("md5"):
                raise BodyError("the content is not what its digest says")
        return Response(200)
