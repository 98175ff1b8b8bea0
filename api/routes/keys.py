"""API keys over HTTP: the embedded store belongs to the serving process, so commands ask it here."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Admin, ServicesDep
from api.documents import to_json
from api.negotiate import TABLE_RESPONSES, FormatQuery, listing
from api.problems import ProblemError
from storage.api_keys import ApiKey, Scope, create_key, read_keys, revoke_key

log = structlog.get_logger(__name__)

router = APIRouter(tags=["keys"])


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "checkout service", "scopes": ["ingest"]}]}
    )

    name: str = Field(min_length=1, max_length=200, description="whose it is")
    scopes: set[Scope] = Field(min_length=1, description="what it opens")


@router.get("/keys", summary="API keys", responses=TABLE_RESPONSES)
def keys(request: Request, services: ServicesDep, _key: Admin, _form: FormatQuery = None) -> Response:
    """Every key ever made, revoked ones too; never their secrets, which are not kept."""
    return listing(request, [_key_document(key) for key in read_keys(services.store).values()])


@router.post("/keys", status_code=201, summary="Make a key")
def create(services: ServicesDep, key: Admin, new: NewKey, response: Response) -> dict[str, Any]:
    """`secret` is shown here once. From the first key on, every door asks for one; the first must therefore be an admin's."""
    if Scope.ADMIN not in new.scopes and not services.authenticator.keys_exist:
        raise ProblemError(
            400,
            "first-key",
            "the first key must be an admin's",
            "once a key exists every door asks for one, and only a key with scope admin makes another: make such a key first",
            "spanwise key create --scope admin NAME; then, with its secret in SPANWISE_API_KEY, the others",
        )
    made, secret = create_key(services.store, new.name, frozenset(new.scopes), services.wall_clock.now())
    services.authenticator.forget()
    log.info("key_created", key_id=made.key_id, name=made.name, scopes=sorted(made.scopes), by=key.key_id)
    response.headers["Cache-Control"] = "no-store"
    return {**_key_document(made), "secret": secret}


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    responses={
        200: {
            "content": {
                "application/json": {"example": {"key_id": "0f1e2d3c4b5a", "revoked_at": "2026-03-01T10:00:00.000000000Z"}}
            }
        }
    },
)
def revoke(
    key_id: Annotated[str, Path(max_length=64, description="the key's id")], services: ServicesDep, key: Admin
) -> dict[str, Any]:
    """It opens nothing from now on; other processes notice within `api.key_cache_seconds`."""
    revoked = revoke_key(services.store, key_id, services.wall_clock.now())
    services.authenticator.forget()
    log.info("key_revoked", key_id=key_id, name=revoked.name, by=key.key_id)
    return _key_document(revoked)


def _key_document(key: ApiKey) -> dict[str, Any]:
    document: dict[str, Any] = to_json(key)
    return document
