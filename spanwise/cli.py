"""`spanwise …`: every command, one line of help each; the work is done elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import typer

import spanwise
from api.problems import ProblemError
from spanwise.lazy import LazyGroup, Place
from storage.errors import SpanwiseError


class Commands(LazyGroup):
    """Every command that is not defined here, in the order of the help page."""

    places: ClassVar[Mapping[str, Place]] = {
        "gate": Place("spanwise.commands.gate", "Ask the gate. Exit code 0 pass, 1 fail, 2 undetermined, 3 no answer."),
        "scorecard": Place(
            "spanwise.commands.scorecard",
            "Show both arms per cohort and metric: difference, any-time range, counts, state; and what it costs.",
        ),
        "traces": Place("spanwise.commands.traces", "List traces that match, newest first."),
        "alerts": Place("spanwise.commands.alerts", "What fires, and the answers to it."),
        "import": Place(
            "spanwise.commands.imports",
            "Take in files of OTLP spans and logs; importing a file again doubles nothing. The key comes from SPANWISE_API_KEY.",
        ),
        "quarantine": Place("spanwise.commands.quarantine", "Requests the store refused: list, retry, drop."),
        "backfill": Place(
            "spanwise.commands.jobs",
            "Rebuild facts and rollups of a range of time; the results are the same, or right where they were not.",
        ),
        "reprice": Place("spanwise.commands.jobs", "Apply the present prices to the past."),
        "renormalize": Place("spanwise.commands.jobs", "Read stored raw attributes again through this release's mapping."),
        "migrate": Place(
            "spanwise.commands.data",
            "Bring the database to this release's schema; safe to repeat. `serve` does it by itself.",
        ),
        "backup": Place(
            "spanwise.commands.data",
            "Write every table to Parquet files.",
        ),
        "restore": Place(
            "spanwise.commands.data",
            "Fill an empty database from a backup; every chunk is checked. Run it again if it was cut short.",
        ),
        "copy": Place(
            "spanwise.commands.data",
            "Move from the embedded engine to a ClickHouse server: verified by counts and checksums, resumable.",
        ),
        "purge": Place("spanwise.commands.data", "Erase traces, or everything of a user, and print the proof."),
        "config": Place("spanwise.commands.setup", "Print the effective settings as JSON, secrets masked."),
        "doctor": Place(
            "spanwise.commands.setup",
            "Say what is wrong with this set-up and what to do. Exit code 1 when something is.",
        ),
        "key": Place("spanwise.commands.key", "API keys: make, list, revoke."),
    }


app = typer.Typer(
    name="spanwise",
    cls=Commands,
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


def main() -> None:
    """The entry point: an error made for people, or by the system about a file or a port, is one line, without a traceback."""
    from spanwise import logging

    # what a command does it says itself; `serve` chooses its own level
    logging.configure("warning", "auto")
    try:
        app()
    except (SpanwiseError, ProblemError) as error:
        sys.exit(f"spanwise: {error}")
    except OSError as error:
        sys.exit(f"spanwise: {error.filename}: {error.strerror}" if error.filename else f"spanwise: {error}")


if __name__ == "__main__":
    main()
