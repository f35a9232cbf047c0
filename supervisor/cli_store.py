"""Commands on the store of experiences."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from supervisor.commands.storeoptions import StoreOptions
from supervisor.flags import DEFAULT_RUN_DIR, AsJson, Config, RunDir, names

store = typer.Typer(help="Make, look after and fill the store of experiences.", no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Option(
        help="sqlite:///path or postgresql://user@host/name. [default: experience.url, else the run folder's]"
    ),
]


def now_us() -> int:
    return time.time_ns() // 1000


@store.command()
def init(
    layout: Annotated[str, typer.Option(help="plain, partitioned (by day) or hypertable; of PostgreSQL.")] = "plain",
    url: Url = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Make the store.

    Its layout is chosen once. A run makes a store in a file by itself.
    """
    from supervisor.commands import store as command

    return command.init(StoreOptions(run_dir, config, url), layout)


@store.command()
def migrate(url: Url = None, run_dir: RunDir = DEFAULT_RUN_DIR, config: Config = None) -> int:
    """Bring the store's tables up to date with this program."""
    from supervisor.commands import store as command

    return command.migrate(StoreOptions(run_dir, config, url))


@store.command()
def stats(url: Url = None, run_dir: RunDir = DEFAULT_RUN_DIR, config: Config = None, as_json: AsJson = False) -> int:
    """Show what the store holds, and how far its readers are."""
    from supervisor.commands import storelook as command

    return command.show_stats(StoreOptions(run_dir, config, url), now_us(), as_json)


@store.command()
def doctor(url: Url = None, run_dir: RunDir = DEFAULT_RUN_DIR, config: Config = None, as_json: AsJson = False) -> int:
    """Say what is wrong with the store, and the cure.

    Exit code 1 when something is.
    """
    from supervisor.commands import storelook as command

    return command.show_findings(StoreOptions(run_dir, config, url), now_us(), as_json)


@store.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="Parquet, Arrow IPC, NPZ, or folders of Minari datasets.")],
    target: Annotated[str | None, typer.Option(help="Whose experiences they are. [default: as the files say]")] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Set rows that are no experiences aside, with the reason.")
    ] = False,
    url: Url = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Store the experiences of files.

    All are looked at before anything is stored. The same file again stores nothing twice.
    """
    from supervisor.commands import storetransport as command

    options = command.ImportOptions(StoreOptions(run_dir, config, url), files, target, quarantine)
    return command.import_files(options, now_us())


@store.command()
def export(
    targets: Annotated[str, typer.Argument(help="Comma-separated keys or globs.")],
    output: Annotated[Path, typer.Option(help="Folder.")],
    kind: Annotated[str, typer.Option("--format", help="parquet, arrow, npz or minari.")] = "parquet",
    width: Annotated[int | None, typer.Option(min=1, help="Only rows with states of so many numbers.")] = None,
    url: Url = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Write experiences to a file of each target."""
    from supervisor.commands import storetransport as command

    options = StoreOptions(run_dir, config, url)
    return command.export_targets(command.ExportOptions(options, names(targets), kind, output, width))


@store.command()
def retain(
    days: Annotated[
        int | None, typer.Option(min=1, help="Older experiences are removed. [default: experience.retention_days]")
    ] = None,
    cold_days: Annotated[
        int | None, typer.Option(min=1, help="Older ones move to Parquet files. [default: experience.cold_days]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, change nothing.")] = False,
    url: Url = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Move old experiences to files, remove older ones.

    Nothing that a reader seen in the last 30 days has not read. incumbent store import brings files back.
    """
    from supervisor.commands import storeretain as command

    return command.retain(command.RetainOptions(StoreOptions(run_dir, config, url), days, cold_days, dry_run), now_us())
