"""E-mail, chat and webhooks arrive at real sockets; what is down gets everything once it is back, once."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage

import pytest
from pydantic import SecretStr

from alerts.config import WebhookConfig
from alerts.delivery import Dispatcher, RetryPolicy, StoreOutbox
from alerts.notify.apprise_channel import AppriseChannel, NotifyUrlError
from alerts.notify.channel import Channel, ChannelRefusedError, ChannelUnavailableError
from alerts.notify.webhook import WebhookChannel
from alerts.templates import Templates
from storage.alerts import Notice, write_events
from storage.client import Store
from storage.clock import FixedClock
from storage.deliveries import DeliveryState, read_deliveries
from tests.support.incidents import T0, make_message, make_notice
from tests.support.peers import free_port, http_sink, smtp_sink

pytestmark = pytest.mark.integration

RETRIES = RetryPolicy(backoff=timedelta(seconds=4), deadline=timedelta(hours=1))


def webhook(url: str, secret: str | None = None) -> WebhookChannel:
    config = WebhookConfig(url=SecretStr(url), secret=SecretStr(secret) if secret else None)
    return WebhookChannel(config, Templates(), FixedClock(T0), 5)


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content())


def test_an_e_mail_has_the_page_and_its_links() -> None:
    with smtp_sink() as sink:
        url = f"mailto://127.0.0.1:{sink.port}?from=spanwise@example.com&to=oncall@example.com&mode=insecure"
        AppriseChannel(url, Templates(), 5).send(make_message())
    [message] = sink.messages
    assert message["To"] == "oncall@example.com"
    assert (
        message["Subject"] == make_message().content.what.replace("  ", " ") or message["Subject"] == make_message().content.what
    )
    html = part(message, "html")
    assert "at least +2.6 pp (proved)" in html
    assert 'href="https://spanwise.example/traces/ab12"' in html
    assert 'href="https://spanwise.example/alerts/a1"' in html


def test_hostile_names_stay_text_in_an_e_mail() -> None:
    hostile = "x\r\nBcc: everyone@example.com\r\n\r\n<script>alert(1)</script>"
    with smtp_sink() as sink:
        url = f"mailto://127.0.0.1:{sink.port}?from=spanwise@example.com&to=oncall@example.com&mode=insecure"
        AppriseChannel(url, Templates(), 5).send(make_message(what=hostile, reach=hostile))
    [message] = sink.messages
    assert message["Bcc"] is None
    assert "<script>" not in part(message, "html")


def test_a_chat_message_goes_through_apprise() -> None:
    with http_sink() as sink:
        AppriseChannel(f"json://127.0.0.1:{sink.port}/hook", Templates(), 5).send(make_message(Notice.RESOLVED, 2))
    [request] = sink.requests
    body = json.loads(request.body)
    assert body["title"].startswith("[RESOLVED] DIVERGENCE")
    assert body["type"] == "success"
    assert "Closed: rolled back by ana" in body["message"]


def test_apprise_says_why_it_failed() -> None:
    channel = AppriseChannel(f"json://127.0.0.1:{free_port()}/hook", Templates(), 2)
    with pytest.raises(ChannelUnavailableError, match=r"[Cc]onnection"):
        channel.send(make_message())


def test_a_url_nobody_understands_is_refused_without_showing_its_secret() -> None:
    with pytest.raises(NotifyUrlError, match=r"bogus://…") as caught:
        AppriseChannel("bogus://hunter2@host", Templates(), 2)
    assert "hunter2" not in str(caught.value)


def test_names_of_channels_are_stable_and_hold_no_secret() -> None:
    one, again = (AppriseChannel("json://user:hunter2@127.0.0.1/x", Templates(), 2) for _ in range(2))
    other = AppriseChannel("json://user:hunter3@127.0.0.1/x", Templates(), 2)
    hook = webhook("https://hooks.example.com/T0/hunter2")
    assert one.name == again.name != other.name
    assert "hunter" not in one.name + hook.name
    hook.close()


def test_the_webhook_is_signed_as_documented() -> None:
    with http_sink() as sink:
        channel = webhook(f"{sink.url}/spanwise", "s3cret")
        channel.send(make_message())
        channel.close()
    [request] = sink.requests
    timestamp = request.headers["Spanwise-Timestamp"]
    assert timestamp == str(int(T0.timestamp()))
    expected = hmac.new(b"s3cret", timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["Spanwise-Signature"] == f"v1={expected}"
    assert request.headers["Idempotency-Key"] == "a1-1"
    body = json.loads(request.body)
    assert (body["version"], body["dedup_key"], body["notice"]) == (1, "a1", "firing")
    assert body["alert"]["streams"][0]["cohort"] == "regulated_answer"
    assert body["alert"]["exemplars"] == [{"trace_id": "ab12", "url": "https://spanwise.example/traces/ab12"}]


def test_without_a_secret_nothing_is_signed() -> None:
    with http_sink() as sink:
        channel = webhook(sink.url)
        channel.send(make_message())
        channel.close()
    assert "Spanwise-Signature" not in sink.requests[0].headers


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, ChannelRefusedError), (404, ChannelRefusedError), (302, ChannelRefusedError), (429, ChannelUnavailableError)],
)
def test_answers_are_permanent_or_not(status: int, error: type[Exception]) -> None:
    with http_sink() as sink:
        sink.status = status
        sink.answer_headers = {"Retry-After": "7"} if status == 429 else {}
        channel = webhook(sink.url)
        with pytest.raises(error) as caught:
            channel.send(make_message())
        channel.close()
    if isinstance(caught.value, ChannelUnavailableError):
        assert caught.value.retry_after_seconds == 7


def run_until_sent(store: Store, dispatcher: Dispatcher, clock: FixedClock) -> None:
    for _ in range(10):
        dispatcher.run()
        steps = read_deliveries(store)
        if {step.state for step in steps} <= {DeliveryState.SENT, DeliveryState.SUPERSEDED}:
            return
        clock.set(max(step.not_before for step in steps))
    raise AssertionError([(step.state, step.error) for step in read_deliveries(store)])


def dispatcher(store: Store, channels: Sequence[Channel], clock: FixedClock, holder: str = "one") -> Dispatcher:
    return Dispatcher(StoreOutbox(store), channels, lambda: "https://spanwise.example", RETRIES, clock, holder)


def test_sinks_die_and_come_back_and_everything_arrives_once(store: Store) -> None:
    clock = FixedClock(T0)
    with smtp_sink() as mail, http_sink() as http:
        mail_url = f"mailto://127.0.0.1:{mail.port}?from=spanwise@example.com&to=oncall@example.com&mode=insecure"
        channels = [AppriseChannel(mail_url, Templates(), 5), webhook(http.url, "s3cret")]
        http.stop()
        write_events(store, [make_notice()])
        first = dispatcher(store, channels, clock)
        first.run()
        assert (len(mail.messages), len(http.requests)) == (1, 0)
        clock.set(T0 + timedelta(seconds=4))
        first.run()
        assert {step.channel.split()[0]: step.state for step in read_deliveries(store)} == {
            "mailto": DeliveryState.SENT,
            "webhook": DeliveryState.FAILED,
        }
        http.start()
        # the process was restarted meanwhile: another dispatcher goes on where the first stopped
        clock.set(T0 + timedelta(minutes=1))
        second = dispatcher(store, channels, clock, "two")
        run_until_sent(store, second, clock)
        for round_trip in (first, second):
            round_trip.run()
        assert (len(mail.messages), len(http.requests)) == (1, 1)
        channels[1].close()


def test_what_has_no_channel_yet_is_sent_when_there_is_one_unless_it_is_over(store: Store) -> None:
    clock = FixedClock(T0)
    write_events(store, [make_notice(alert_id="open")])
    write_events(store, [make_notice(alert_id="over"), make_notice(2, Notice.RESOLVED, alert_id="over")])
    resolved = replace(make_notice(alert_id="over"), event_id="over/resolved", event="resolved", notice=Notice.NONE)
    write_events(store, [resolved])
    dispatcher(store, [], clock).run()
    assert read_deliveries(store) == []
    with http_sink() as sink:
        channel = webhook(sink.url)
        dispatcher(store, [channel], clock).run()
        channel.close()
    assert [json.loads(request.body)["dedup_key"] for request in sink.requests] == ["open"]
