"""Gives notices their page: from what is judged now, else from what was said last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerts import page as pages
from alerts.page import Content
from alerts.rollouts import Rollout
from alerts.thresholds import Judgement, threshold_content
from alerts.verdict import GLOBAL, StreamFinding, Verdict
from storage.alerts import AlertEvent, EventKind, Notice, read_alert_events
from storage.client import Store
from storage.exemplars import read_failed_traces

_N_EXEMPLARS = 5
# Without a likely start of the harm, exemplars are looked for this far back.
_LOOK_BACK = timedelta(days=1)


class PageWriter:
    """
    Writes the pages of one tick's notices.

    Args:
        store: earlier pages and failed traces.
        public_url: address of the pages for readers of an alert.
        failure_cost_usd: what a failed trace costs, if anybody said.
    """

    def __init__(self, store: Store, public_url: str, failure_cost_usd: float | None) -> None:
        self._store = store
        self._public_url = public_url
        self._failure_cost_usd = failure_cost_usd

    def write(
        self,
        events: Sequence[AlertEvent],
        verdicts: Mapping[str, Verdict],
        rollouts: Mapping[str, Rollout],
        judgements: Mapping[str, Judgement],
    ) -> list[AlertEvent]:
        """
        The events, each notice with its page.

        Args:
            events: what `decide` returned.
            verdicts: by comparison id.
            rollouts: by name.
            judgements: of threshold rules, by comparison id.
        """
        written = []
        for event in events:
            if event.event is EventKind.NOTIFIED:
                verdict = verdicts.get(event.comparison_id)
                rollout = rollouts.get(event.subject.name)
                content = self._content(event, verdict, rollout, judgements.get(event.comparison_id))
                event = replace(event, page=pages.to_json(content))
            written.append(event)
        return written

    def _content(
        self, event: AlertEvent, verdict: Verdict | None, rollout: Rollout | None, judgement: Judgement | None
    ) -> Content:
        if event.notice is Notice.RESOLVED:
            return pages.closed(self._previous(event), event.evidence_at)
        if judgement is not None and judgement.signal.streams:
            return threshold_content(judgement, event.evidence_at)
        if verdict is not None and rollout is not None and {page.stream_id for page in verdict.pages} & set(event.streams):
            exemplars = pages.trace_links(self._public_url, self._exemplars(verdict, rollout, event.streams))
            return pages.rollout_content(verdict, rollout.config, event.streams, exemplars, self._failure_cost_usd)
        return self._previous(event)

    def _previous(self, event: AlertEvent) -> Content:
        told = [earlier for earlier in read_alert_events(self._store, event.alert_id) if earlier.page]
        if told:
            return pages.from_json(told[-1].page)
        return Content(
            event.subject.kind, event.subject.name, event.kind, "warning", "", "", "", "", event.evidence_at,
            f"{event.kind.replace('_', ' ').upper()}  {event.subject.name}",
            tuple(pages.StreamLine(stream, "", "", "", stream, None) for stream in event.streams),
        )  # fmt: skip

    def _exemplars(self, verdict: Verdict, rollout: Rollout, streams: Sequence[str]) -> list[str]:
        lead = next(page.stream_id for page in verdict.pages if page.stream_id in streams)
        finding = next((finding for finding in verdict.streams if finding.stream_id == lead), None)
        if finding is None:
            return []
        return read_failed_traces(
            self._store,
            service_name=rollout.config.service,
            model_route=verdict.candidate_route,
            metric=finding.metric,
            evaluator=finding.evaluator,
            cohort="" if finding.cohort == GLOBAL else finding.cohort,
            since=_since(finding, verdict.as_of),
            limit=_N_EXEMPLARS,
        )


def _since(finding: StreamFinding, as_of: datetime) -> datetime:
    return finding.since or as_of - _LOOK_BACK
