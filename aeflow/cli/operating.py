"""Running by itself: deploy, up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (deploy, up):
        app.command()(command)


def deploy(
    config: ConfigArgument,
    *,
    pool_type: Annotated[
        Literal["process", "docker", "kubernetes"],
        typer.Option(help="Where runs are carried out: beside the worker, in containers, in a cluster."),
    ] = "process",
    image: Annotated[
        str | None, typer.Option(help="The container's image, with docker or kubernetes.")
    ] = None,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print a prefect.yaml instead, for `prefect deploy --all`.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Tell the Prefect server of the pipeline: its schedules, queues, limits and triggers."""
    import os

    from aeflow.cli.output import print_json
    from aeflow.exceptions import InputError
    from aeflow.settings import home_for, prefect_api_configured
    from flows.up.run import running_api

    path = open_pipeline(config)
    if not yaml and not prefect_api_configured():
        running = running_api(home_for(path))
        if running is None:
            raise InputError(
                "expected a Prefect server, and none is known",
                where="aeflow deploy",
                remedy="Start one: aeflow up. Or name one: export PREFECT_API_URL=http://host:4200/api",
            )
        os.environ["PREFECT_API_URL"] = running
    from flows import deployments

    place = deployments.Place(pool_type, image)
    if yaml:
        print(deployments.as_prefect_yaml(path, place), end="")
        return
    done = deployments.deploy(path, place)
    if json:
        print_json(
            {"deployments": done.deployments, "automations": done.automations, "warnings": done.warnings}
        )
        return
    for name, when in done.deployments.items():
        print(f"{name}: {when}")
    for automation in done.automations:
        print(f"automation {automation!r}")
    for warning in done.warnings:
        print(f"Note: {warning}")


def up(
    configs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG]...", help="Pipelines to deploy. Those deployed before stay so."),
    ] = None,
    *,
    host: Annotated[
        str, typer.Option(help="Where to listen. Any but 127.0.0.1 lets others in: neither server asks who.")
    ] = "127.0.0.1",
    prefect_port: Annotated[int, typer.Option(metavar="PORT", help="Of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(metavar="PORT", help="Of the MLflow server.")] = 5000,
    review_port: Annotated[
        int, typer.Option(metavar="PORT", help="Of the first pipeline's review app; the next have the next.")
    ] = 8765,
    score_workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Nightly runs and backfills at once.")
    ] = 1,
    train_workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Trainings at once: one for each GPU.")
    ] = 1,
) -> None:
    """Run everything on this machine until Ctrl-C: Prefect, MLflow, review, workers; kept alive, caught up."""
    from aeflow.config import find_config
    from aeflow.settings import home_for
    from flows.up.run import run_up
    from flows.up.services import Addresses

    paths = [find_config(config) for config in configs or []]
    home = home_for(paths[0] if paths else Path("configs") / "any.yaml")
    run_up(
        home,
        paths,
        Addresses(host, prefect_port, mlflow_port, review_port),
        score_workers=score_workers,
        train_workers=train_workers,
        say=lambda text: print(text, flush=True),
    )
