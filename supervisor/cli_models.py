"""Commands on models beside a search: what they collect, measure and hand on decides nothing by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from supervisor.errors import UsageError
from supervisor.flags import DEFAULT_RUN_DIR, AsJson, Config, RunDir, names

models = typer.Typer()


@models.command()
def transfer(
    source_archetype: Annotated[str, typer.Option(help="Whose weights to start from.")],
    target_archetype: Annotated[str, typer.Option(help="What is trained.")],
    model_type: Annotated[str, typer.Option(help="Of both.")],
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Hundredths of the model type's budget. [default: 100]")
    ] = None,
    num_episodes: Annotated[int, typer.Option(min=100, help="Games that judge.")] = 1000,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
    as_json: AsJson = False,
) -> int:
    """Measure a warm start against a cold one.

    Two trainings side by side, from the source's incumbent and from scratch; nothing is registered.
    """
    from supervisor.commands import transfer as command

    return command.transfer(
        command.TransferOptions(
            run_dir, config, source_archetype, target_archetype, model_type, epochs, num_episodes, seed, as_json
        )
    )


@models.command("analyze-rewards")
def analyze_rewards(
    archetype: Annotated[str | None, typer.Option(help="[default: all]")] = None,
    num_episodes: Annotated[int, typer.Option(min=1, help="Fights.")] = 100,
    data: Annotated[Path | None, typer.Option(help="A folder of incumbent collect, instead of fights.")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
    as_json: AsJson = False,
) -> int:
    """Show what an archetype's reward is made of.

    In fights of the incumbent, of the script where there is none.
    """
    from supervisor.commands import rewards as command

    return command.analyze_rewards(
        command.RewardsOptions(run_dir, config, archetype, num_episodes, seed, data, as_json)
    )


@models.command()
def profile(
    model_type: Annotated[str, typer.Option(help="What is trained.")] = "combat_dqn",
    archetype: Annotated[str, typer.Option(help="Whose.")] = "aggressive",
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to watch.")] = 15.0,
    scale: Annotated[str | None, typer.Option(help="small or full. [default: the folder's, else small]")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
    as_json: AsJson = False,
) -> int:
    """Show where a training's time goes."""
    from supervisor.commands import profiling as command

    return command.profile_training(
        command.ProfileOptions(run_dir, config, archetype, model_type, scale, seconds, seed, as_json)
    )


@models.command()
def collect(
    every: Annotated[bool, typer.Option("--all", help="Every archetype.")] = False,
    archetypes: Annotated[str | None, typer.Option(help="Comma separated.")] = None,
    samples_per_archetype: Annotated[int, typer.Option(min=1, help="Ticks of fights.")] = 10000,
    source: Annotated[
        str, typer.Option(help="traditional (the script plays), synthetic (random play) or database (the store).")
    ] = "traditional",
    output: Annotated[Path | None, typer.Option(help="Folder. [default: data in the run's]")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Play through the inference server, into the experience store, until Ctrl+C.")
    ] = False,
    targets: Annotated[str | None, typer.Option(help="Live: comma-separated keys.")] = None,
    host: Annotated[str | None, typer.Option(help="Live: the server's. [default: serving.host]")] = None,
    port: Annotated[int | None, typer.Option(help="Live: the server's. [default: serving.port]")] = None,
    clients: Annotated[int, typer.Option(min=1, help="Live: how many play each target.")] = 16,
    fights: Annotated[int, typer.Option(min=1, help="Live: of each client at a time.")] = 4,
    exploration: Annotated[float, typer.Option(min=0, max=1, help="Live: share of actions at random.")] = 0.1,
    rate: Annotated[float, typer.Option(min=1, help="Live: most steps per second of all together.")] = 500,
    steps: Annotated[int | None, typer.Option(min=1, help="Live: stop after so many.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Live: stop after so long.")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
) -> int:
    """Write experience of archetypes to files, or play live.

    A file that is there as asked for is kept. The store is that of experience.url.
    """
    if live:
        from supervisor.commands.live import LiveOptions, play_live

        if not targets:
            raise UsageError("say what: --live --targets aggressive/combat_dqn")
        chosen = names(targets)
        return play_live(
            LiveOptions(run_dir, config, chosen, host, port, clients, fights, exploration, rate, steps, seconds, seed)
        )
    from supervisor.commands import collect as command

    if not (every or archetypes):
        raise UsageError("say what: --all or --archetypes aggressive,mage")
    return command.collect(
        command.CollectOptions(run_dir, config, names(archetypes), samples_per_archetype, source, output, seed)
    )


@models.command()
def deploy(
    every: Annotated[bool, typer.Option("--all", help="Every target with a model.")] = False,
    archetypes: Annotated[str | None, typer.Option(help="Comma separated.")] = None,
    model_types: Annotated[str | None, typer.Option(help="Comma separated.")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """See that what was trained is what is served.

    Promotes winners that wait for it, and tells the server what it missed.
    """
    from supervisor.commands import deploy as command

    if not (every or archetypes or model_types):
        raise UsageError("say what: --all, --archetypes aggressive,mage or --model-types combat_dqn")
    return command.deploy(command.DeployOptions(run_dir, config, names(archetypes), names(model_types)))


@models.command("train-coordination")
def train_coordination(
    archetype: Annotated[str, typer.Option(help="Of the pack's members.")],
    pack_size: Annotated[int, typer.Option(help="2 to 5 members, against as many foes.")] = 5,
    episodes: Annotated[int, typer.Option(min=1, help="Fights to train for.")] = 1000,
    games: Annotated[int, typer.Option(min=100, help="Fights that measure.")] = 1000,
    output: Annotated[Path | None, typer.Option(help="Folder. [default: in the run's reports]")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
) -> int:
    """Train and measure a pack of any size.

    Central training, decentral play; into files, nothing is registered.
    """
    from supervisor.commands import coordination as command

    return command.train_coordination(
        command.CoordinationOptions(run_dir, config, archetype, pack_size, episodes, games, output, seed)
    )


@models.command()
def report(
    targets: Annotated[str | None, typer.Option(help="Comma-separated keys or globs. [default: all]")] = None,
    html: Annotated[Path | None, typer.Option(help="File to write: pictures and tables, for a browser.")] = None,
    since: Annotated[
        str | None, typer.Option(help="90m, 24h, 7d, 2w, or a date or time (UTC). [default: the log's beginning]")
    ] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    as_json: AsJson = False,
) -> int:
    """Show how production's win rate went.

    With every promotion and rollback, out of the log; beside a running supervisor too.
    """
    from supervisor.clock import Clock
    from supervisor.commands import report as command

    return command.report(command.ReportOptions(run_dir, names(targets), html, since, as_json), Clock())
