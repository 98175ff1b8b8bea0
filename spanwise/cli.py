"""`spanwise …`: every command, one line of help each; the work is done elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import spanwise
from spanwise.commands import alerts, data, gate, imports, jobs, key, quarantine, scorecard, setup, traces
from storage.errors import SpanwiseError

app = typer.Typer(
    name="spanwise",
    help="Says when a cheaper model route was paid for by one of its cohorts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        print(spanwise.__version__)
        raise typer.Exit


@app.command()
def serve(
    config: Config = None,
    data_dir: Annotated[Path | None, typer.Option(help="directory of the embedded engine and the spool")] = None,
    host: Annotated[str | None, typer.Option(help="address to bind; anything but loopback needs API keys")] = None,
    otlp_grpc_port: Annotated[int | None, typer.Option(help="OTLP over gRPC; 0 takes a free port")] = None,
    otlp_http_port: Annotated[int | None, typer.Option(help="OTLP over HTTP; 0 takes a free port")] = None,
    http_port: Annotated[int | None, typer.Option(help="API and pages; 0 takes a free port")] = None,
    job_interval: Annotated[float | None, typer.Option(help="seconds between two runs of the jobs")] = None,
    role: Annotated[str | None, typer.Option(help="rooms to run, comma-separated: collector,analytics,alerts,api")] = None,
    clock: Annotated[str | None, typer.Option(help="wall, or event to replay history")] = None,
) -> None:
    """Collect, compute, judge, page and answer, until stopped."""
    from spanwise import logging
    from spanwise.serve import serve as run
    from spanwise.settings import load

    overrides = {
        "data_dir": data_dir,
        "host": host,
        "otlp_grpc_port": otlp_grpc_port,
        "otlp_http_port": otlp_http_port,
        "http_port": http_port,
        "job_interval": job_interval,
        "role": role,
        "clock": clock,
    }
    settings = load(config, overrides)
    logging.configure(settings.log_level, settings.log_format)
    run(settings)


@app.command()
def demo(
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="stay up for a look at the pages, or end when it was seen")
    ] = True,
    seed: Annotated[int, typer.Option(help="another seed simulates another two weeks")] = 1,
    port: Annotated[int, typer.Option(help="port of the pages; 0 takes a free one")] = 0,
) -> None:
    """Watch a cheaper student route turn out to be worse for one cohort."""
    from spanwise.demo import run

    raise typer.Exit(run(wait=wait, seed=seed, port=port))


for _module in (gate, scorecard, traces, alerts, imports, quarantine, jobs, data, setup):
    _module.register(app)
app.add_typer(key.app)


def main() -> None:
    """The entry point: an error made for people is printed as one line, without a traceback."""
    try:
        app()
    except SpanwiseError as error:
        print(f"spanwise: {error}", file=sys.stderr)
        sys.exit(1)
