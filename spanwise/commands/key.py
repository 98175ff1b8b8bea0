"""`spanwise key`: make, list and revoke API keys. A running instance is asked; otherwise the store is opened here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.table import Column, Table

from api.documents import to_json
from spanwise.instance import api, own_store
from spanwise.settings import Settings, load
from storage.api_keys import ApiKey, Scope, create_key, read_keys, revoke_key
from storage.clock import WallClock
from storage.errors import PermanentError

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

app = typer.Typer(name="key", help="API keys: make, list, revoke.", no_args_is_help=True)
console = Console()


def register(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="whose it is, such as the service that sends")],
    scope: Annotated[list[Scope], typer.Option(help="what it opens; repeat for several")],
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
    as_json: AsJson = False,
    secret_file: Annotated[
        Path | None, typer.Option(help="write the secret to this new file, readable by its owner only")
    ] = None,
) -> None:
    """Make a key and print its secret, once. From the first key on every door asks for one."""
    settings = load(config, {"data_dir": data_dir})
    if not name.strip():
        raise PermanentError("a key needs a name: whose it is, such as the service that sends")
    if secret_file is not None:
        with _new_file(secret_file) as file:
            made = _create(settings, url, name, scope)
            file.write(made["secret"])
        console.print(f"key {made['key_id']} for {name!r}: secret in {secret_file}", markup=False, highlight=False)
        return
    made = _create(settings, url, name, scope)
    if as_json:
        print(json.dumps(made))
        return
    console.print(f"key {made['key_id']} for {name!r}: {', '.join(sorted(made['scopes']))}", markup=False, highlight=False)
    print(made["secret"])
    console.print("It cannot be shown again. Send it as `Authorization: Bearer …`; commands read SPANWISE_API_KEY.", markup=False)


@app.command("list")
def list_keys(config: Config = None, data_dir: DataDir = None, url: Url = None, as_json: AsJson = False) -> None:
    """Every key ever made, revoked ones too."""
    keys = _list(load(config, {"data_dir": data_dir}), url)
    if as_json:
        print(json.dumps(keys))
        return
    table = Table(Column("id", no_wrap=True), "name", "scopes", "created", "revoked")
    for key in keys:
        table.add_row(key["key_id"], key["name"], ", ".join(key["scopes"]), key["created_at"], key["revoked_at"] or "")
    console.print(table)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="id of the key, as `spanwise key list` shows it")],
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Close a key for good."""
    settings = load(config, {"data_dir": data_dir})
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                revoke_key(store, key_id, WallClock().now())
                console.print(f"key {key_id} is revoked")
                return
    with api(settings, url) as client:
        client.delete(f"/api/v1/keys/{key_id}")
    console.print(f"key {key_id} is revoked")


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file of its owner's, there before the key is made: no place for the secret, no key. Gone if the block fails."""
    try:
        file = open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
    except FileExistsError as error:
        raise PermanentError(f"--secret-file: {path} exists, and may hold another key's secret; name a new file") from error
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _create(settings: Settings, url: str | None, name: str, scopes: list[Scope]) -> Mapping[str, Any]:
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                key, secret = create_key(store, name, frozenset(scopes), WallClock().now())
                return {**_document(key), "secret": secret}
    with api(settings, url) as client:
        made: dict[str, Any] = client.post(
            "/api/v1/keys", json={"name": name, "scopes": [scope.value for scope in scopes]}
        ).json()
        return made


def _list(settings: Settings, url: str | None) -> list[Any]:
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                return [_document(key) for key in read_keys(store).values()]
    with api(settings, url) as client:
        return list(client.get("/api/v1/keys").json()["items"])


def _document(key: ApiKey) -> dict[str, Any]:
    document: dict[str, Any] = to_json(key)
    return document
