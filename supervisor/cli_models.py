"""Commands on models beside a search: what they collect, measure and hand on decides nothing by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from supervisor.flags import DEFAULT_RUN_DIR, AsJson, Config, RunDir

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
