"""The doors: OTLP over gRPC and over HTTP. They carry bytes to `collector.intake` and its answer back."""
