"""
Assembly once more, one span at a time: dictionaries, loops and recursion, nothing shared with the program but the names of
columns.

Slow and plain on purpose. Covers what generated traces contain; regular expressions of the program are replaced by the
generator's own lists.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

Span = dict[str, Any]
CALL_KINDS = {"llm", "embedding", "rerank"}
BAD = {"error", "timeout"}
GAP_SECONDS = 60.0
STRINGS = ("prompt_name", "prompt_version", "cohort", "session_id", "user_id", "mirror_group")


def assemble(spans: list[Span]) -> dict[tuple[str, str], Span]:
    """Facts of each span by (trace, span)."""
    traces: defaultdict[str, dict[str, Span]] = defaultdict(dict)
    for candidate in spans:
        kept = traces[candidate["trace_id"]].get(candidate["span_id"])
        rank = (candidate["end_time"], candidate["content_hash"])
        if kept is None or rank > (kept["end_time"], kept["content_hash"]):
            traces[candidate["trace_id"]][candidate["span_id"]] = candidate
    return {(trace_id, span_id): row for trace_id, trace in traces.items() for span_id, row in _Trace(trace).rows().items()}


class _Trace:
    def __init__(self, spans: dict[str, Span]) -> None:
        self.spans = spans
        self.retried_inside: set[str] = set()
        self.concluded: set[str] = set()
        self.fell_back: set[str] = set()
        self.order = sorted(spans, key=lambda name: (spans[name]["start_time"], name))
        named = {name: span["parent_span_id"] for name, span in spans.items()}
        self.in_cycle = {name for name in spans if self._meets_itself(name, named)}
        self.parent = {name: parent if parent in spans and name not in self.in_cycle else None for name, parent in named.items()}
        self.root = next((name for name in self.order if not named[name]), None)
        self.named = named
        self.evaluator = {name for name in spans if any(spans[a]["kind"] == "evaluator" for a in self.line(name))}
        self.calls = {name for name in spans if spans[name]["kind"] in CALL_KINDS}
        self.attempts = {name for name in spans if spans[name]["kind"] == "attempt"}
        self.usage = {
            name
            for name, span in spans.items()
            if span["input_tokens"] is not None or span["output_tokens"] is not None or (span["reported_cost_usd"] or 0) > 0
        }
        for name in spans:
            if spans[name]["name"] == "raw_gen_ai_request" and name in self.usage and self.parent[name] not in self.usage:
                self.calls.add(name)
                self.calls.discard(str(self.parent[name]))
        self.stand_ins = {name for name in self.calls if spans[name]["name"] == "raw_gen_ai_request"}
        self.scope = {name: self._scope(name) for name in spans}
        self.leaves = {
            name for name in self.calls if not any(self._visible(d, name) and d in self.calls for d in self.below(name))
        }

    @staticmethod
    def _meets_itself(name: str, named: dict[str, str]) -> bool:
        at, seen = named[name], set()
        while at in named and at not in seen:
            if at == name:
                return True
            seen.add(at)
            at = named[at]
        return False

    def line(self, name: str) -> list[str]:
        """The span and its ancestors, nearest first."""
        line: list[str] = []
        at: str | None = name
        while at is not None:
            line.append(at)
            at = self.parent[at]
        return line

    def below(self, name: str) -> list[str]:
        return [other for other in self.spans if other != name and name in self.line(other)]

    def _visible(self, descendant: str, name: str) -> bool:
        """What an evaluator does below a span that is not an evaluator's is no part of it."""
        return name in self.evaluator or descendant not in self.evaluator

    def _counts(self, name: str) -> bool:
        is_raw = self.spans[name]["name"] == "raw_gen_ai_request"
        return name in self.usage and name not in self.attempts and not (is_raw and name not in self.stand_ins)

    def _scope(self, name: str) -> str:
        if name not in self.usage:
            return "none"
        is_raw = self.spans[name]["name"] == "raw_gen_ai_request"
        if (self._counts(name) or name in self.attempts) and any(
            self._counts(d) and self._visible(d, name) for d in self.below(name)
        ):
            return "aggregate"
        if self.parent[name] in self.usage and is_raw and name not in self.stand_ins:
            return "duplicate"
        if name in self.attempts:
            answered = self.spans[name]["status"] not in {"error", "timeout", "cancelled"}
            return "duplicate" if answered and self.parent[name] in self.usage else "attempt"
        return "own"

    def inherited(self, name: str, column: str, empty: str = "") -> str:
        for ancestor in self.line(name):
            value = self.spans[ancestor][column]
            if value not in ("", empty):
                return str(value)
        if self.root is not None and self.spans[self.root][column] not in ("", empty):
            return str(self.spans[self.root][column])
        return empty

    def rows(self) -> dict[str, Span]:
        logical, answers = self._logical_calls()
        rows: dict[str, Span] = {}
        for name in self.order:
            rows[name] = {
                "model_route": self.inherited(name, "model_route"),
                "cohort": self.inherited(name, "cohort"),
                "session_id": self.inherited(name, "session_id"),
                "mirror_role": self.inherited(name, "mirror_role", "none"),
                "is_model_call": name in self.calls,
                "usage_scope": self.scope[name],
                "is_evaluator_traffic": name in self.evaluator,
                **logical.get(name, {"logical_call_id": "", "attempt_kind": "", "attempt_index": None}),
                "is_answer": name in answers,
                "retried_inside": name in self.retried_inside,
                "fell_back": name in self.fell_back,
                "asked": self._asked(name),
                "flags": self._flags(name),
            }
        return rows

    def _asked(self, name: str) -> str:
        """The model that was asked; a raw request was sent for what its parent asked."""
        own = self.spans[name]["request_model"] or self.spans[name]["response_model"]
        parent = self.parent[name]
        return (self.spans[parent]["request_model"] if name in self.stand_ins and parent else "") or own

    def _flags(self, name: str) -> set[str]:
        span = self.spans[name]
        counted = [self.spans[d] for d in self.below(name) if self.scope[d] in ("own", "attempt")]
        flags = {
            "orphan": span["parent_span_id"] != "" and span["parent_span_id"] not in self.spans,
            "parent_cycle": name in self.in_cycle,
            "attempt_inferred": name in self.concluded,
            "aggregate_uncovered": self.scope[name] == "aggregate" and sum(map(_tokens, counted)) < _tokens(span),
        }
        return {flag for flag, holds in flags.items() if holds}

    def _target(self, name: str) -> tuple[str, str]:
        span = self.spans[name]
        return self.inherited(name, "model_route"), span["request_model"] or span["response_model"]

    def _same_target(self, one: str, other: str) -> bool:
        (route, model), (other_route, other_model) = self._target(one), self._target(other)
        return route == other_route and (model == other_model or not model or not other_model)

    def _logical_calls(self) -> tuple[dict[str, Span], set[str]]:
        groups: list[list[str]] = []
        for call in (name for name in self.order if name in self.leaves):
            group, is_concluded = self._joined(call, groups)
            if group is None:
                groups.append([call])
            else:
                group.append(call)
            if is_concluded:
                self.concluded.add(call)
        labels: dict[str, Span] = {}
        for attempt in self.attempts:
            labels[attempt] = {
                "logical_call_id": attempt,
                "attempt_kind": "first",
                "attempt_index": self.spans[attempt]["attempt_index"],
            }
        answers: set[str] = set()
        for group in groups:
            labels |= self._labels(group)
            good = [name for name in group if self.spans[name]["status"] in ("ok", "unset")]
            answer = max(good, key=lambda name: (self.spans[name]["end_time"], self.order.index(name)), default=group[-1])
            answers.add(answer)
            first, kind = labels[answer]["logical_call_id"], labels[answer]["linked_as"]
            is_elsewhere = kind != "first" and not self._same_target(answer, first)
            if good and (kind == "fallback" or is_elsewhere):
                self.fell_back.add(answer)
        return labels, answers

    def _family(self, call: str) -> str:
        """The named parent of the outermost span that tells this call and no other."""
        top = call
        while (up := self.parent[top]) is not None and sum(d in self.leaves for d in self.below(up)) == 1:
            made_good = self.spans[call]["status"] in BAD and self.spans[up]["status"] not in BAD
            if up not in self.calls and (self.spans[up]["operation"] != "invoke_agent" or made_good):
                break
            top = up
        return self.named[top]

    def _side(self, call: str) -> str:
        return self.inherited(call, "mirror_role", "none")

    def _joined(self, call: str, groups: list[list[str]]) -> tuple[list[str] | None, bool]:
        """The logical call that this one is a try of, and whether only a sibling's failure says so."""
        span = self.spans[call]
        for group in groups:
            mates = (
                self.spans[member]["call_group"] == span["call_group"] and self._side(member) == self._side(call)
                for member in group
            )
            if span["call_group"] and any(mates):
                return group, False
        family = self._family(call), self._side(call)
        siblings = [name for name in self.order if name in self.leaves and (self._family(name), self._side(name)) == family]
        earlier = siblings[: siblings.index(call)]
        retried = {group[at] for group in groups for at in range(len(group) - 1)}
        best: str | None = None
        for failed in earlier:
            other = self.spans[failed]
            gap = (span["start_time"] - other["end_time"]).total_seconds()
            if other["status"] not in BAD or failed in retried or not 0 <= gap <= GAP_SECONDS:
                continue
            between = (
                self.spans[name]["status"] in ("ok", "unset")
                and self.spans[name]["start_time"] >= other["end_time"]
                and self.spans[name]["end_time"] <= span["start_time"]
                for name in earlier
            )
            if any(between):
                continue
            rank = (self._same_target(failed, call), other["end_time"], self.order.index(failed))
            if best is None or rank > (self._same_target(best, call), self.spans[best]["end_time"], self.order.index(best)):
                best = failed
        return next((group for group in groups if best in group), None), best is not None

    def _labels(self, group: list[str]) -> dict[str, Span]:
        steps: list[str] = []
        same_as: dict[str, str] = {}
        for call in group:
            attempts = [name for name in self.order if name in self.attempts and self._host(name) == call]
            steps += attempts
            answered = self.spans[call]["status"] in ("ok", "unset")
            if attempts and (self.spans[attempts[-1]]["status"] in ("ok", "unset") or not answered):
                same_as[call] = attempts[-1]
            else:
                steps.append(call)
        labels: dict[str, Span] = {}
        for position, step in enumerate(steps):
            previous = steps[position - 1]
            if position == 0:
                kind = "first"
            elif (
                self._shares_group(step, group)
                and step in self.leaves
                and self.spans[step]["start_time"] < self.spans[previous]["end_time"]
            ):
                kind = "hedge"
            elif self._same_target(step, previous) or self._same_target(step, steps[0]):
                kind = "retry"
            else:
                kind = "fallback"
            index = self.spans[step]["attempt_index"]
            labels[step] = {
                "logical_call_id": steps[0],
                "attempt_kind": kind,
                "linked_as": kind,
                "attempt_index": position if index is None else index,
            }
        labels |= {call: labels[attempt] for call, attempt in same_as.items()}
        self.concluded -= set(same_as)
        for call in group:
            if self._hides_a_retry(call):
                self.retried_inside.add(call)
                if labels[call]["attempt_kind"] == "first":
                    self.concluded.add(call)
                    labels[call] = labels[call] | {"attempt_kind": "retry", "attempt_index": None}
        return labels

    def _hides_a_retry(self, call: str) -> bool:
        span = self.spans[call]
        shows_answer = span["status"] == "ok" or (span["status"] == "unset" and span["output_tokens"] is not None)
        lost = self.spans.get(self.parent[call] or "")
        made_good = call in self.stand_ins and lost is not None
        made_good = made_good and (lost["status"] in BAD or (lost["status"] in ("ok", "unset") and lost["error_type"] != ""))
        failed_http = any(
            self.parent[name] == call and below["kind"] == "other" and below["http_status"] in (429, 504)
            for name, below in self.spans.items()
        )
        return (shows_answer and span["error_type"] != "") or made_good or (span["status"] in ("ok", "unset") and failed_http)

    def _shares_group(self, call: str, group: list[str]) -> bool:
        key = self.spans[call]["call_group"]
        mates = [name for name in group if key and self.spans[name]["call_group"] == key]
        return bool(mates) and mates[0] != call

    def _host(self, attempt: str) -> str | None:
        return next((name for name in self.line(attempt) if name in self.leaves), None)


def summarise(spans: list[Span], facts: dict[tuple[str, str], Span]) -> dict[tuple[str, str], Span]:
    """
    Trace rows by (trace, role): counts, tokens and cost.

    Args:
        spans: priced spans, each once, with the columns of `facts` resolved and `charge` given.
    """
    units: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    traces: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span["trace_id"], span["start_time"], span["span_id"])):
        traces[span["trace_id"]].append(span)
    for trace_id, members in traces.items():
        roles = {span["mirror_role"] for span in members}
        served = any(
            span["is_request"] and not span["is_evaluator_traffic"] and span["mirror_role"] != "shadow" for span in members
        )
        for span in members:
            role = span["mirror_role"]
            if "shadow" in roles and role != "shadow":
                role = "primary" if served or "primary" in roles else "shadow"
            elif "primary" in roles and role == "none":
                role = "primary"
            units[trace_id, role].append(span)
    return {key: _unit(members, traces[key[0]], facts, role=key[1]) for key, members in units.items()}


def _unit(members: list[Span], trace: list[Span], facts: dict[tuple[str, str], Span], *, role: str) -> Span:
    user = [span for span in members if not span["is_evaluator_traffic"]]
    answers = [span for span in user if _fact(span, facts)["is_answer"]]
    billed = [span for span in user if span["charge"]]
    own = [span for span in user if span["usage_scope"] in ("own", "attempt")]
    silent = [span for span in billed if span["charge"] in ("unknown", "broken")]
    unpriced = [span for span in billed if span["cost_usd"] is None and span["charge"] in ("usage", "unknown")]

    def of_call(answer: Span) -> list[Span]:
        return [span for span in trace if span["logical_call_id"] == answer["logical_call_id"]]

    def timed_out(span: Span) -> bool:
        lost = [other for other in trace if other["span_id"] == span["parent_span_id"] and span["name"] == "raw_gen_ai_request"]
        is_linked = "parent_cycle" not in span["quality_flags"]
        is_stand_in = is_linked and _fact(span, facts)["is_model_call"]
        return _timed_out(span) or (is_stand_in and any(_timed_out(parent) for parent in lost))

    def is_retry(span: Span) -> bool:
        return span["attempt_kind"] == "retry" or _fact(span, facts)["retried_inside"]

    def first_try(span: Span) -> Span:
        return next(other for other in trace if other["span_id"] == span["logical_call_id"])

    root = next((span for span in user if span["parent_span_id"] == ""), None)
    lead = root or (user[0] if user else next((s for s in members if s["parent_span_id"] == ""), members[0]))
    is_rooted = lead["parent_span_id"] == ""
    last_end = lead["end_time"] if is_rooted else max(span["end_time"] for span in user or members)
    requests = [span for span in user if span["is_request"]]
    first = next(iter(_generating(requests) or requests), None)
    routed = [first_try(span)["model_route"] for span in requests] + [span["model_route"] for span in user]
    fell_back = [span for span in user if _fact(span, facts)["fell_back"]]
    final = _last(_generating(answers) or answers)
    answered = [span for span in _generating(answers) if span["status"] not in BAD]
    is_overruled = any(
        other["parent_span_id"] == lead["span_id"]
        and other["name"] == "raw_gen_ai_request"
        and _fact(other, facts)["is_model_call"]
        and other["status"] in ("ok", "unset")
        for other in trace
        if "parent_cycle" not in other["quality_flags"]
    )
    says_itself = is_rooted and lead["status"] != "unset" and not is_overruled
    flags = set().union(*(_fact(span, facts)["flags"] for span in members))
    flags |= {"no_root"} if not is_rooted and role == "none" else set()
    flags |= {"evaluator_only"} if not user else set()
    flags |= {
        flag
        for flag, charge in (("cost_failed_free", "refused"), ("cost_lower_bound", "broken"))
        if any(span["charge"] == charge and span["cost_usd"] is None for span in user)
    }
    flags |= {"usage_unknown"} if silent else set()
    flags |= {"unpriced"} if unpriced else set()
    judging = [span for span in members if span["is_evaluator_traffic"] and span["charge"] in ("usage", "unknown")]
    flags |= {"evaluation_unpriced"} if any(span["cost_usd"] is None for span in judging) else set()
    return {
        "n_spans": len(members),
        "started_at": lead["start_time"],
        "duration_ns": max(0, round((last_end - lead["start_time"]).total_seconds() * 1e9)),
        "model_route": (lead["model_route"] if user else "") or next(filter(None, routed), ""),
        "model": _fact(first_try(first), facts)["asked"] if first else "",
        "models": sorted({_answering(span) for span in requests if span["status"] in ("ok", "unset")} - {""}),
        "ttft_ns": (_last(answered) or {"ttft_ns": None})["ttft_ns"],
        "errored": (lead if says_itself or final is None else final)["status"] in BAD,
        "fell_back": bool(fell_back),
        "quality_flags": sorted(flags),
        "n_model_calls": len(requests),
        "n_logical_calls": len(answers),
        "n_errored_calls": sum(answer["status"] in BAD for answer in answers),
        "n_timed_out_calls": sum(any(timed_out(span) for span in of_call(answer)) for answer in answers),
        "n_retried_calls": sum(any(is_retry(span) for span in of_call(answer)) for answer in answers),
        "input_tokens": _sum(own, "input_tokens", bool(billed) and not silent),
        "output_tokens": _sum(own, "output_tokens", bool(billed) and not silent),
        "unpriced_calls": len(unpriced),
        "cost_usd": None if unpriced or not billed else sum((span["cost_usd"] or Decimal(0) for span in billed), Decimal(0)),
    }


def _fact(span: Span, facts: dict[tuple[str, str], Span]) -> Span:
    return facts[span["trace_id"], span["span_id"]]


def _generating(calls: list[Span]) -> list[Span]:
    """Calls that write an answer."""
    return [call for call in calls if call["kind"] not in ("embedding", "rerank")]


def _last(calls: list[Span]) -> Span | None:
    """The call that ended last; of those that end together the one that started last."""
    return max(reversed(calls), key=lambda span: span["end_time"], default=None)


def _answering(span: Span) -> str:
    return str(span["response_model"] or span["request_model"])


def _tokens(span: Span) -> int:
    return (span["input_tokens"] or 0) + (span["output_tokens"] or 0)


def _timed_out(span: Span) -> bool:
    return (
        span["status"] == "timeout" or "Timeout" in span["error_type"] or (span["status"] in BAD and span["http_status"] == 504)
    )


def _sum(spans: list[Span], column: str, is_known: bool) -> int | None:
    values = [span[column] for span in spans]
    return sum(values) if is_known and all(value is not None for value in values) else None
