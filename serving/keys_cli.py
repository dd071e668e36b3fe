"""The command line's part for keys: add, list, remove."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from executor.builtin import TOOLBOX
from executor.errors import UsageError
from serving.gateway import keys
from serving.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Makes and lists keys.")


@app.command()
def add(
    name: str,
    tools: Annotated[
        str | None, typer.Option("--tools", help="Names with commas between; all if absent.")
    ] = None,
    max_runs: Annotated[int | None, typer.Option("--max-runs", min=1, help="At once.")] = None,
    per_minute: Annotated[int | None, typer.Option("--per-minute", min=1)] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, max=36500, help="It expires after these.")
    ] = None,
) -> None:
    """Makes a key and prints it, this once."""
    allowed = None if tools is None else _names(tools)
    path = Settings.from_env().keys_file
    print(
        keys.add(
            path, name, tools=allowed, max_runs=max_runs, runs_per_minute=per_minute, days=days
        )
    )


def _names(tools: str) -> tuple[str, ...]:
    """Warns of those that only a tools file can have: which one the gateway has is not known."""
    names = tuple(each.strip() for each in tools.split(","))
    if "" in names:
        raise UsageError(f"--tools is {tools!r}; name tools, with commas between")
    if others := [name for name in names if name not in TOOLBOX]:
        warning = f"not among the bundled tools ({TOOLBOX}): {', '.join(others)}"
        print(f"headstart: {warning}; is it a slip, or your tools file's?", file=sys.stderr)
    return names


@app.command("list")
def list_() -> None:
    """Shows the keys' names and limits."""
    table = Table(box=None, pad_edge=False)
    for title in ("name", "tools", "runs at once", "a minute", "expires (UTC)"):
        table.add_column(title, no_wrap=title != "tools")
    for key in keys.read(Settings.from_env().keys_file).keys:
        has_expired = key.expires is not None and key.expires <= datetime.now(UTC)
        expires = f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never"
        table.add_row(
            key.name,
            "all" if key.tools is None else ", ".join(key.tools),
            str(key.max_runs or "any"),
            str(key.runs_per_minute or "any"),
            f"{expires} (over)" if has_expired else expires,
        )
    Console(highlight=False, markup=False).print(table)


@app.command()
def remove(name: str) -> None:
    """Makes a key useless, from the next request on."""
    keys.remove(Settings.from_env().keys_file, name)
    print(f"removed {name}")
