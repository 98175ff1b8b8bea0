"""Every page, in one router: `create_app` includes it."""

from __future__ import annotations

from fastapi import APIRouter

from api.pages import alerts, prices, rollout, rollouts, settings

router = APIRouter()
for page in (rollouts, rollout, alerts, prices, settings):
    router.include_router(page.router)
