"""Which model calls of one trace are tries of one logical call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from analytics.assembly.models import bare_model


class AttemptKind(StrEnum):
    """What a try is to the logical call it belongs to."""

    FIRST = "first"
    RETRY = "retry"
    FALLBACK = "fallback"
    HEDGE = "hedge"


class Evidence(StrEnum):
    """What decided an attempt's kind. A hint's own key is used where an attribute or event said it."""

    NONE = ""
    EXPLICIT = "explicit"
    CALL_GROUP = "call_group"
    FAILED_SIBLING = "failed_sibling"
    ATTEMPT_SPAN = "attempt_span"
    ERROR_ON_OK = "error_on_ok"
    RAW_REQUEST = "raw_request"
    MODEL_CHAIN = "model_chain"


class Try(NamedTuple):
    """
    One call, or one attempt span of a call. Times in nanoseconds; `side`: mirror role; `family`: equal for siblings; `kind`,
    `attempt_index`: as the span says.
    """

    row: int
    start: int
    end: int
    failed: bool
    succeeded: bool
    route: str
    model: str
    side: str
    family: int
    group: str
    kind: str
    attempt_index: int | None
    fallback_from: str
    input_hash: int | None

    def aims_at(self, other: Try) -> bool:
        """Same route and same model; a model that is not known could be any."""
        mine, theirs = bare_model(self.model), bare_model(other.model)
        return self.route == other.route and (mine == theirs or not mine or not theirs)

    @property
    def says_later(self) -> bool:
        return self.kind in (AttemptKind.RETRY, AttemptKind.FALLBACK, AttemptKind.HEDGE) or (
            not self.kind and (self.attempt_index or 0) > 0
        )


class Label(NamedTuple):
    """What a try turned out to be. `first_row`: the first try of its logical call."""

    row: int
    first_row: int
    attempt_index: int | None
    kind: str
    fallback_from: str
    evidence: str


class Answer(NamedTuple):
    """The try whose outcome is the logical call's. `fell_back`: another route or model answered than was tried first."""

    row: int
    fell_back: bool


@dataclass(slots=True)
class _LogicalCall:
    tries: list[Try] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Family:
    """
    Siblings seen so far, in the order of start: failures nobody has tried again yet, and when a success last ended the search.

    A failure waits until it has ended; then it lies among those of the same input and the same aim, the last to end on top. So a
    call looks at one failure per aim, however many there are.
    """

    running: list[tuple[int, int, Try]] = field(default_factory=list)
    ended: dict[int | None, dict[tuple[str, str], list[Try]]] = field(default_factory=dict)
    answering: list[tuple[int, int]] = field(default_factory=list)
    # the latest start of a success that had ended by now: what failed before that is settled
    settled_until: int = -1
    last: Try | None = None

    def best_failure(self, call: Try, gap_ns: int, tried_again: set[int]) -> Try | None:
        """
        The failed sibling that `call` most likely tries again: one that aims at the same, else the last to end.

        Not one that ended too long ago, nor one after whose end a sibling succeeded before `call` started.
        """
        self._advance(call.start)
        oldest = max(self.settled_until + 1, call.start - gap_ns)
        is_any = call.input_hash is None
        fitting = self.ended.values() if is_any else (self.ended.get(key, {}) for key in (call.input_hash, None))
        tops = []
        for stack in [stack for stacks in fitting for stack in stacks.values()]:
            while stack and stack[-1].row in tried_again:
                stack.pop()
            if stack and stack[-1].end < oldest:
                stack.clear()
            tops += stack[-1:]
        return max(tops, key=lambda failure: (failure.aims_at(call), failure.end, failure.row), default=None)

    def _advance(self, now: int) -> None:
        while self.answering and self.answering[0][0] <= now:
            self.settled_until = max(self.settled_until, heappop(self.answering)[1])
        while self.running and self.running[0][0] <= now:
            failure = heappop(self.running)[2]
            stacks = self.ended.setdefault(failure.input_hash, {})
            stacks.setdefault((failure.route, bare_model(failure.model)), []).append(failure)

    def add(self, call: Try) -> None:
        self.last = call
        if call.failed:
            heappush(self.running, (call.end, call.row, call))
        elif call.succeeded:
            heappush(self.answering, (call.end, call.start))


def link(calls: Sequence[Try], attempts: dict[int, list[Try]], gap_ns: int) -> tuple[list[Label], list[Answer]]:
    """
    Group the calls of one trace into logical calls and label every try.

    A call joins an earlier one when both carry the same call group, when it says itself that it is a later attempt, or when a
    sibling failed at most `gap_ns` before it started, no sibling succeeded in between, and their inputs are not known to differ.

    Args:
        calls: the calls of one trace by start.
        attempts: attempt spans by the row of the call that reports on them, by start.
        gap_ns: longest pause between a failure and its next try, nanoseconds.
    """
    families: defaultdict[tuple[int, str], _Family] = defaultdict(_Family)
    last_of_group: dict[tuple[str, str], Try] = {}
    joined: dict[int, _LogicalCall] = {}
    tried_again: set[int] = set()
    logical_calls: list[_LogicalCall] = []
    for call in calls:
        family = families[call.family, call.side]
        previous, evidence = _previous(call, family, last_of_group, gap_ns, tried_again)
        if previous is None:
            logical_call = _LogicalCall()
            logical_calls.append(logical_call)
        else:
            logical_call = joined[previous.row]
            tried_again.add(previous.row)
        logical_call.tries.append(call)
        logical_call.evidence.append(Evidence.EXPLICIT if call.kind or call.attempt_index is not None else evidence)
        joined[call.row] = logical_call
        family.add(call)
        if call.group:
            last_of_group[call.group, call.side] = call
    labelled = [_labelled(logical_call, attempts) for logical_call in logical_calls]
    return [label for labels, _ in labelled for label in labels], [answer for _, answer in labelled]


def _previous(
    call: Try, family: _Family, last_of_group: dict[tuple[str, str], Try], gap_ns: int, tried_again: set[int]
) -> tuple[Try | None, str]:
    if call.group and (call.group, call.side) in last_of_group:
        return last_of_group[call.group, call.side], Evidence.CALL_GROUP
    if call.says_later:
        return family.best_failure(call, gap_ns, tried_again) or family.last, Evidence.EXPLICIT
    if call.kind == AttemptKind.FIRST:
        return None, Evidence.NONE
    previous = family.best_failure(call, gap_ns, tried_again)
    return previous, Evidence.FAILED_SIBLING if previous else Evidence.NONE


def _labelled(logical_call: _LogicalCall, attempts: dict[int, list[Try]]) -> tuple[list[Label], Answer]:
    """Number the tries of one logical call, attempt spans before the call that reports on them."""
    steps: list[tuple[Try, str]] = []
    told: dict[int, int] = {}
    for call, evidence in zip(logical_call.tries, logical_call.evidence, strict=True):
        spans = attempts.get(call.row, [])
        steps += [(attempt, Evidence.ATTEMPT_SPAN) for attempt in spans]
        if spans and (spans[-1].succeeded or not call.succeeded):
            # the call is the attempt that succeeded, or the last that failed, told again
            told[len(steps) - 1] = call.row
        else:
            steps.append((call, Evidence.ATTEMPT_SPAN if spans and evidence == Evidence.NONE else evidence))
    first = steps[0][0]
    labels: list[Label] = []
    for position, (step, evidence) in enumerate(steps):
        label = _label(step, evidence, steps[max(0, position - 1)][0], first, position)
        labels.append(label)
        if position in told:
            labels.append(label._replace(row=told[position]))
    return labels, _answer(logical_call.tries, {label.row: label for label in labels}, first)


def _label(step: Try, evidence: str, previous: Try, first: Try, position: int) -> Label:
    kind = step.kind
    if not kind:
        if position == 0 and not step.says_later:
            kind = AttemptKind.FIRST
        elif evidence == Evidence.CALL_GROUP and step.start < previous.end:
            kind = AttemptKind.HEDGE
        elif step.aims_at(previous) or step.aims_at(first):
            kind = AttemptKind.RETRY
        else:
            kind = AttemptKind.FALLBACK
    is_lost_first = position == 0 and kind != AttemptKind.FIRST
    index = step.attempt_index if step.attempt_index is not None or is_lost_first else position
    fallback_from = step.fallback_from
    if kind == AttemptKind.FALLBACK and not fallback_from and position:
        fallback_from = first.route if first.route and first.route != step.route else first.model
    return Label(step.row, first.row, index, str(kind), fallback_from, str(evidence))


def _answer(calls: Sequence[Try], labels: dict[int, Label], first: Try) -> Answer:
    """The call that succeeded and ended last, else the last one tried."""
    final = max((call for call in calls if call.succeeded), key=lambda call: (call.end, call.row), default=calls[-1])
    kind = labels[final.row].kind
    is_elsewhere = not final.kind and kind != AttemptKind.FIRST and not final.aims_at(first)
    return Answer(final.row, final.succeeded and (kind == AttemptKind.FALLBACK or is_elsewhere))
