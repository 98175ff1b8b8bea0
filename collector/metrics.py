"""OTLP metrics: taken at the door, counted and turned away, because nothing here keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector import otlp_json
from collector.checks import UndecodableError

NOT_KEPT = "metrics are not kept here; send none (OTEL_METRICS_EXPORTER=none)"
"""Why every data point is rejected: in the answer and in the ledger."""


def count_points(request: bytes, *, is_json: bool) -> int:
    """
    How many data points an `ExportMetricsServiceRequest` has.

    Raises:
        UndecodableError, MalformedJsonError: it is no such request.
    """
    if is_json:
        return otlp_json.count_points(request)
    try:
        parsed = ExportMetricsServiceRequest.FromString(request)
    except DecodeError as error:
        raise UndecodableError(f"not an ExportMetricsServiceRequest: {error}") from error
    return sum(_points(parsed))


def _points(request: ExportMetricsServiceRequest) -> Iterator[int]:
    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                yield len(getattr(metric, kind).data_points) if kind else 0
