"""Every page, in one router: `create_app` includes it."""

from __future__ import annotations

from fastapi import APIRouter

from api.pages import rollout, rollouts

router = APIRouter()
for page in (rollouts, rollout):
    router.include_router(page.router)
