"""Every page, in one router: `create_app` includes it."""

from __future__ import annotations

from fastapi import APIRouter

from api.pages import alerts, health, pairs, prices, rollout, rollouts, settings, trace, traces

router = APIRouter()
# pairs before rollout: a rollout's name may hold a slash
for page in (rollouts, pairs, rollout, traces, trace, alerts, health, prices, settings):
    router.include_router(page.router)
