"""SecretService: secrets that `flyte create secret` creates, for the tasks that ask for them by their names.

They join those that commands hand over when they start runs: in memory only, gone with the control plane. Their values
are never told.
"""

from __future__ import annotations

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.secret import definition_pb2 as definition
from flyteidl2.secret import payload_pb2 as pb
from flyteidl2.secret.secret_connect import SecretService

from flytebuild.runtime.secret_book import Known, SecretBook
from flytebuild.runtime.services import Context
from flytebuild.runtime.services.convert import timestamp


class Secrets(SecretService):  # type: ignore[misc]
    """Creates, replaces, lists and forgets secrets."""

    def __init__(self, book: SecretBook) -> None:
        self._book = book

    async def create_secret(self, request: pb.CreateSecretRequest, _ctx: Context) -> pb.CreateSecretResponse:
        """Keep a secret that there is not yet."""
        name = _name(request.id)
        if self._book.known(name) is not None:
            raise ConnectError(
                Code.ALREADY_EXISTS, f"there is a secret `{name}` already; `flyte delete secret {name}` forgets it"
            )
        self._book.put(name, _value(name, request.secret_spec))
        return pb.CreateSecretResponse()

    async def update_secret(self, request: pb.UpdateSecretRequest, _ctx: Context) -> pb.UpdateSecretResponse:
        """Give a secret another value; attempts that run keep what they have got."""
        name = self._existing(request.id).name
        self._book.put(name, _value(name, request.secret_spec))
        return pb.UpdateSecretResponse()

    async def get_secret(self, request: pb.GetSecretRequest, _ctx: Context) -> pb.GetSecretResponse:
        """That there is a secret, and since when."""
        return pb.GetSecretResponse(secret=_described(self._existing(request.id), request.id))

    async def delete_secret(self, request: pb.DeleteSecretRequest, _ctx: Context) -> pb.DeleteSecretResponse:
        """Forget a secret."""
        self._book.forget(self._existing(request.id).name)
        return pb.DeleteSecretResponse()

    async def list_secrets(self, request: pb.ListSecretsRequest, _ctx: Context) -> pb.ListSecretsResponse:
        """All secrets by name, those that commands have handed over included; on one page, whatever the limit is."""
        scope = definition.SecretIdentifier(
            organization=request.organization, project=request.project, domain=request.domain
        )
        return pb.ListSecretsResponse(secrets=[_described(known, scope) for known in self._book])

    def _existing(self, identifier: definition.SecretIdentifier) -> Known:
        known = self._book.known(identifier.name)
        if known is None:
            raise ConnectError(Code.NOT_FOUND, f"there is no secret `{identifier.name}`")
        return known


def _name(identifier: definition.SecretIdentifier) -> str:
    if not identifier.name:
        raise ConnectError(Code.INVALID_ARGUMENT, "a secret needs a name")
    return str(identifier.name)


def _value(name: str, spec: definition.SecretSpec) -> str:
    if spec.type != definition.SECRET_TYPE_GENERIC:
        raise ConnectError(
            Code.INVALID_ARGUMENT,
            f"`{name}` is a secret for pulling images, which are pulled with what `docker login` left here",
        )
    if spec.WhichOneof("value") == "string_value":
        return str(spec.string_value)
    try:
        return str(spec.binary_value.decode())
    except UnicodeDecodeError:
        raise ConnectError(
            Code.INVALID_ARGUMENT, f"the value of secret `{name}` is not text, which a variable has to be"
        ) from None


def _described(known: Known, scope: definition.SecretIdentifier) -> definition.Secret:
    return definition.Secret(
        id=definition.SecretIdentifier(
            name=known.name, organization=scope.organization, project=scope.project, domain=scope.domain
        ),
        secret_metadata=definition.SecretMetadata(
            created_time=timestamp(known.since),
            secret_status=definition.SecretStatus(overall_status=definition.FULLY_PRESENT),
            type=definition.SECRET_TYPE_GENERIC,
        ),
    )
