"""Every command and its flags. What a command does lies in `commands/`, imported when it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli_models import models
from supervisor.cli_store import store
from supervisor.commands.oserrors import exit_code_of, message_of
from supervisor.errors import IncumbentError, UsageError
from supervisor.flags import DEFAULT_RUN_DIR, AsJson, Config, RunDir, names
from supervisor.signals import EXIT_INTERRUPTED

app = typer.Typer(
    name="incumbent",
    help="Searches hyperparameters and reward weights, promotes what is proven better, serves it, resumes exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Annotated[str, typer.Argument(help="Target key, archetype/model_type or group/name.")]


@app.command()
def run(
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    seed: Annotated[
        int | None, typer.Option(help="Every random choice is derived from it. [default: the folder's, at first 0]")
    ] = None,
    max_iterations: Annotated[int | None, typer.Option(help="Stop after this iteration. [default: unlimited]")] = None,
    targets: Annotated[str | None, typer.Option(help="Comma-separated keys or globs. [default: */combat_dqn]")] = None,
    games: Annotated[int | None, typer.Option(help="Screen games per trial. [default: the sampler's figure]")] = None,
    baseline_games: Annotated[int | None, typer.Option(help="Games of a target's baseline. [default: 50]")] = None,
    checkpoint_interval: Annotated[int | None, typer.Option(help="Iterations per snapshot. [default: 10]")] = None,
    min_improvement: Annotated[
        float | None, typer.Option(help="Gain a winner must be proven to exceed. [default: 0.001]")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="spsa, perturb, tpe, random, cmaes, gp, qmc, nsga2 or module:Class. [default: spsa]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Trials at a time; a folder's first start fixes the most. [default: 1]")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="small or full. [default: small]")] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Where a trial's weights come from: incumbent or scratch. [default: incumbent]")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run. [default: derived]")] = None,
    single_iteration: Annotated[bool, typer.Option("--single-iteration", help="One iteration, then stop.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, write and run nothing.")] = False,
) -> int:
    """Search until stopped.

    The same command goes on where it was. Ctrl+C saves and leaves.
    """
    from supervisor.commands.run import RunOptions, run_supervisor

    flags: dict[str, object] = {
        "run.seed": seed,
        "run.max_iterations": max_iterations,
        "run.targets": targets.split(",") if targets else None,
        "run.games": games,
        "run.baseline_games": baseline_games,
        "run.checkpoint_interval": checkpoint_interval,
        "promotion.min_improvement": min_improvement,
        "search.sampler": sampler,
        "run.workers": workers,
        "run.scale": scale,
        "run.start_from": start_from,
        "run.run_id": run_id,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    return run_supervisor(RunOptions(run_dir, config, given, single_iteration=single_iteration, dry_run=dry_run))


@app.command()
def serve(
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to bind. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port. [default: 8080]")] = None,
    beside_run: Annotated[bool, typer.Option("--beside-run", hidden=True)] = False,
) -> int:
    """Serve the models that a run promoted.

    Over HTTP; a new version is taken up without interrupting anybody.
    """
    from supervisor.commands.serve import serve_models

    return serve_models(run_dir, config, host, port, beside_run=beside_run)


@app.command()
def status(
    run_dir: RunDir = DEFAULT_RUN_DIR,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl+C.")] = False,
) -> int:
    """What runs, what is best, what is served."""
    from supervisor.commands.status import show_status

    return show_status(run_dir, as_json=as_json, watch=watch)


@app.command()
def validate(
    config: Annotated[Path | None, typer.Argument(help="Configuration file; without one, the defaults.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print every value and where it came from.")] = False,
) -> int:
    """Report every mistake of a configuration.

    And of the search spaces it names.
    """
    from supervisor.commands.validate import validate_config

    return validate_config(config, show=show)


@app.command()
def doctor(run_dir: RunDir = DEFAULT_RUN_DIR, config: Config = None, as_json: AsJson = False) -> int:
    """Check this machine and the installation."""
    from supervisor.commands.doctor import examine

    return examine(run_dir, config, as_json=as_json)


@app.command()
def pause(run_dir: RunDir = DEFAULT_RUN_DIR) -> int:
    """Let the trial in flight save, then wait.

    The run stays paused, over a restart too, until incumbent resume.
    """
    from supervisor.commands.ask import ask
    from supervisor.journal.requests import Action

    return ask(run_dir, Action.PAUSE)


@app.command()
def resume(run_dir: RunDir = DEFAULT_RUN_DIR) -> int:
    """Go on after a pause."""
    from supervisor.commands.ask import ask
    from supervisor.journal.requests import Action

    return ask(run_dir, Action.RESUME)


@app.command()
def stop(run_dir: RunDir = DEFAULT_RUN_DIR) -> int:
    """Save and leave, as Ctrl+C does."""
    from supervisor.commands.ask import ask
    from supervisor.journal.requests import Action

    return ask(run_dir, Action.STOP)


@app.command()
def enqueue(
    target: Target,
    values: Annotated[list[str], typer.Argument(help="name=value ..., over the incumbent's configuration.")],
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Try a configuration of your own next.

    It is judged like any other.
    """
    from supervisor.commands.ask import ask_enqueue

    return ask_enqueue(run_dir, config, target, values)


@app.command()
def promote(
    target: Target,
    version: Annotated[str, typer.Argument(help="A version that the log knows, such as v000042.")],
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Make a known version the incumbent.

    An iteration of its own; nothing is trained or played.
    """
    from supervisor.commands.ask import ask_change
    from supervisor.journal.requests import Action

    return ask_change(run_dir, config, Action.PROMOTE, target, version)


@app.command()
def rollback(
    target: Target,
    version: Annotated[
        str | None, typer.Option("--version", help="Where to go back to. [default: the one before]")
    ] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
) -> int:
    """Go back to an earlier version.

    An iteration of its own; the present version never comes back.
    """
    from supervisor.commands.ask import ask_change
    from supervisor.journal.requests import Action

    return ask_change(run_dir, config, Action.ROLLBACK, target, version)


@app.command()
def export(
    target: Annotated[str | None, typer.Argument(help="One target's key, with FILE.")] = None,
    file: Annotated[Path | None, typer.Argument(help="File to write.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="[default: the incumbent]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every incumbent, into a folder.")] = False,
    archetypes: Annotated[str | None, typer.Option(help="Comma separated. [default: all]")] = None,
    model_types: Annotated[str | None, typer.Option(help="Comma separated. [default: all]")] = None,
    output: Annotated[Path, typer.Option(help="Folder for several models.")] = Path("exported"),
    verify: Annotated[bool, typer.Option("--verify", help="Compare answers with the registered file.")] = False,
    optimize: Annotated[bool, typer.Option("--optimize", help="Fold constants; FP16 always is.")] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="Full precision instead of FP16.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> int:
    """Copy a model to a file, or many into a folder.

    Of an external target, its configuration.
    """
    from supervisor.commands.exportall import ExportOptions, export_models

    several = every or archetypes or model_types
    if target is not None and file is not None and not several:
        from supervisor.commands.export import export_version

        if verify or optimize or fp32:
            raise UsageError(
                "TARGET FILE copies the registered file; for other forms: --all, --archetypes, --model-types"
            )
        return export_version(run_dir, target, file, version)
    if target is not None or version is not None or not several:
        raise UsageError("say what: TARGET FILE [--version V], or --all, --archetypes, --model-types [--output]")
    return export_models(ExportOptions(run_dir, output, names(archetypes), names(model_types), verify, optimize, fp32))


@app.command()
def gc(
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, remove nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove what the run no longer needs.

    A running supervisor does so by itself; beside it only --dry-run works.
    """
    from supervisor.commands.gc import collect_garbage

    return collect_garbage(run_dir, config, dry_run=dry_run, as_json=as_json)


@app.command()
def train(
    every: Annotated[bool, typer.Option("--all", help="Every archetype and model type.")] = False,
    archetypes: Annotated[str | None, typer.Option(help="Comma separated. [default: all]")] = None,
    model_types: Annotated[str | None, typer.Option(help="Comma separated. [default: all]")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    config: Config = None,
    scale: Annotated[str | None, typer.Option(help="small or full. [default: small]")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Hundredths of the model type's budget. [default: 100]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="[default: the model type's]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: the archetype's]")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda:N. [default: the configuration's, at first auto]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="[default: the folder's, at first 0]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time. [default: one per CPU, at most 4]")
    ] = None,
    games: Annotated[int, typer.Option(min=100, help="Games or situations per measurement.")] = 1000,
) -> int:
    """Train, export, verify, register and measure models.

    The default configuration of each; a target that has a version is only measured. The same command goes on.
    """
    from supervisor.commands.train import TrainOptions, train_models

    if not (every or archetypes or model_types):
        raise UsageError("say what: --all, --archetypes aggressive,mage or --model-types combat_dqn,movement_ppo")
    at_once = workers or min(4, len(os.sched_getaffinity(0)))
    flags = {"run.scale": scale, "run.seed": seed, "run.workers": at_once}
    return train_models(
        TrainOptions(
            run_dir,
            config,
            archetypes.split(",") if archetypes else [],
            model_types.split(",") if model_types else [],
            {name: value for name, value in flags.items() if value is not None},
            epochs,
            batch_size,
            lr,
            games,
            at_once,
            device,
        )
    )


@app.command()
def evaluate(
    archetype: Annotated[str | None, typer.Option(help="[default: all]")] = None,
    model_type: Annotated[str | None, typer.Option(help="[default: all]")] = None,
    version: Annotated[str | None, typer.Option("--version", help="[default: the incumbent]")] = None,
    num_episodes: Annotated[int, typer.Option(min=10, help="Games or situations per measurement.")] = 1000,
    save_report: Annotated[bool, typer.Option("--save-report", help="Write reports/evaluation.json.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    workers: Annotated[int | None, typer.Option(min=1, help="At a time. [default: one per CPU, at most 4]")] = None,
    as_json: AsJson = False,
) -> int:
    """Measure models against what a release should reach.

    Over fresh games, which decide nothing.
    """
    from supervisor.commands.evaluate import EvaluateOptions, at_once, evaluate_models

    options = EvaluateOptions(
        run_dir, archetype, model_type, version, num_episodes, at_once(workers), save_report, as_json
    )
    return evaluate_models(options)


@app.command()
def dashboard(
    run_dir: RunDir = DEFAULT_RUN_DIR,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8081,
) -> int:
    """Show the trials in optuna-dashboard.

    Read-only, on this machine alone.
    """
    from supervisor.commands.dashboard import serve_dashboard

    return serve_dashboard(run_dir, port)


app.add_typer(models)
app.add_typer(store, name="store")


def run_cli(arguments: list[str]) -> int:
    """The exit code of one command line. Errors for the operator are one message, never a traceback."""
    try:
        code = app(arguments, prog_name="incumbent", standalone_mode=False)
    except IncumbentError as error:
        typer.echo(error, err=True)
        return error.exit_code
    except OSError as error:
        refused = exit_code_of(error)
        if refused is None:
            raise
        typer.echo(message_of(error), err=True)
        return refused
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # a usage error shows the command's usage too
        if callable(show):
            show()
        else:
            typer.echo(error.format_message(), err=True)
        return UsageError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0
