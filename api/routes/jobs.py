"""Jobs: what ran, and running one now."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.background import KINDS, NEEDS_SINCE
from api.dependencies import Admin, Reader, ServicesDep
from api.documents import to_json
from api.negotiate import TABLE_RESPONSES, FormatQuery, listing
from api.problems import absent_role, bad_value, not_found, not_given
from api.times import parse_time
from storage.job_runs import read_job_run, read_job_runs

router = APIRouter(tags=["jobs"])


class JobRange(BaseModel):
    """Which traces, by when they started; empty is the job's own choice. What a backup is called, what a purge erases."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"since": "-7d"}]})

    since: str | None = Field(None, max_length=64, description="from this time on (RFC 3339, or -7d)")
    until: str | None = Field(None, max_length=64, description="before this time")
    name: str | None = Field(
        None,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="backup: name of its directory, below `backups` in the instance's data directory",
    )
    traces: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, min_length=1, max_length=10_000, description="purge: ids of traces to erase"
    )
    user: str | None = Field(None, min_length=1, max_length=1024, description="purge: erase every trace of this user id")


_OWN_CHOICE = JobRange()


@router.get("/jobs", summary="Job runs", responses=TABLE_RESPONSES)
def jobs(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    kind: Annotated[str, Query(max_length=40, description="only this kind")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
) -> Response:
    """What ran lately, newest first, with rows, seconds and how far behind the data it was."""
    return listing(request, [_run(run) for run in read_job_runs(services.store, kind, limit)])


@router.post("/jobs/{kind}", status_code=202, summary="Run a job")
def start(
    kind: Annotated[Literal[KINDS], Path(description="which job")],  # type: ignore[valid-type]
    services: ServicesDep,
    _key: Admin,
    response: Response,
    wanted: JobRange = _OWN_CHOICE,
) -> dict[str, Any]:
    """Queue it behind what runs. `Location` says where its progress can be read."""
    if services.jobs is None:
        raise absent_role("analytics", "running jobs")
    now = services.clock.now()
    since = parse_time(wanted.since, now, "since") if wanted.since else None
    until = parse_time(wanted.until, now, "until") if wanted.until else None
    if since is not None and until is not None and since >= until:
        raise bad_value("since", wanted.since, f"earlier than until={wanted.until}")
    if since is None and kind in NEEDS_SINCE:
        raise not_given("since", "this job works on the traces that started from then on")
    if kind == "backup" and wanted.name is None:
        raise not_given("name", "the backup's directory is called so")
    if kind == "purge" and wanted.traces is None and wanted.user is None:
        raise not_given("traces or user", "what is to be erased")
    run_id = services.jobs.start(
        str(kind), since, until, wanted.model_dump(include={"name", "traces", "user"}, exclude_none=True)
    )
    response.headers["Location"] = f"/api/v1/jobs/{run_id}"
    return {"id": run_id, "kind": kind, "state": "queued"}


@router.get(
    "/jobs/{run_id}",
    summary="One run",
    responses={
        200: {"content": {"application/json": {"example": {"id": "5b…", "kind": "reprice", "state": "running", "progress": 0.4}}}}
    },
)
def job(
    run_id: Annotated[str, Path(max_length=64, description="id of the run")], services: ServicesDep, _key: Reader
) -> dict[str, Any]:
    """`queued`, `running`, `done`, `failed` or `stopped` (with its process, after a batch), and how far it is (0 to 1)."""
    asked = services.jobs.progress(run_id) if services.jobs else None
    if asked is not None:
        return dict(asked)
    run = read_job_run(services.store, run_id)
    if run is None:
        raise not_found("job-run", run_id, do="list them: GET /api/v1/jobs")
    return _run(run)


def _run(run: Any) -> dict[str, Any]:
    document: dict[str, Any] = to_json(run)
    return {"id": document.pop("run_id"), **document}
