"""Before the first night: init, check, schema, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (demo, init, check, doctor, schema):
        app.command()(command)


def init(  # noqa: PLR0917 - typer reads each option off the signature
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the pipeline: lower-case letters, digits, - and _.")
    ],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="PATH", help="A folder of images.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="PATH", help="CSV or Parquet: a file or folder.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COL", help="The table's time column.")
    ] = None,
    entity: Annotated[
        str | None, typer.Option("--entity", metavar="COL", help="The table's entity column.")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            "--time-format", metavar="FORM", help="Of the times, such as '%d.%m.%Y %H:%M' or epoch_seconds."
        ),
    ] = None,
    sql: Annotated[
        Path | None, typer.Option("--sql", metavar="FILE", help="A query with :start and :end.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The query's database.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the config that is there.")] = False,
) -> None:
    """Look at the data and write configs/NAME.yaml, complete and commented."""
    from aeflow.exceptions import InputError
    from aeflow.onboarding import (
        ImageProfile,
        SqlProfile,
        TableProfile,
        profile_images,
        profile_sql,
        profile_table,
        write_config,
    )
    from aeflow.settings import home_for, prepare_environment

    target = Path("configs") / f"{name}.yaml"
    prepare_environment(home_for(target))
    if sum(given is not None for given in (images, table, sql)) != 1:
        raise InputError("expected one of --images PATH, --table PATH, --sql FILE", where="aeflow init")
    profile: ImageProfile | TableProfile | SqlProfile
    if images is not None:
        profile = profile_images(images)
    elif table is not None:
        profile = profile_table(table, time=time, entity=entity, time_format=time_format)
    else:
        if sql is None or url is None:
            raise InputError("--sql FILE needs --url URL", where="aeflow init")
        profile = profile_sql(sql, url, time=time, entity=entity)
    path = write_config(profile, name, target.parent, force=force)
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if line.startswith(("# - ", "#   ")):  # what was seen in the data, as it stands on top of the file
            print(line.removeprefix("# - ").removeprefix("# "))
    print(f"Wrote {path}. Next: aeflow check {name}, aeflow train {name}")


def check(config: ConfigArgument, json: JsonOption = False) -> None:
    """Say whether config and source are sound, what a batch is, and what would be trained."""
    from aeflow.cli.output import print_json, tell_unreadable
    from flows.check_pipeline import check_pipeline

    found = check_pipeline(open_pipeline(config))
    if json:
        print_json(found.to_json())
    else:
        print("\n".join(found.lines()))
    tell_unreadable(found.unreadable)
    if found.unreadable:
        raise typer.Exit(2)


def doctor(json: JsonOption = False) -> None:
    """Say what is installed, reachable, and would be used: device, stores, servers. Exit code 2: something has
    to be mended."""
    from aeflow.cli.output import print_json, print_table
    from aeflow.settings import home_for, prepare_environment

    prepare_environment(home_for(Path("configs") / "any.yaml"))
    from flows.doctor import FINE, examine

    rows = examine(home_for(Path("configs") / "any.yaml"))
    if json:
        print_json([{"what": what, "found": found, "state": state} for what, found, state in rows])
    else:
        print_table(["what", "found", "state"], rows)
    if any(state not in FINE for _, _, state in rows):
        raise typer.Exit(2)


def schema() -> None:
    """Print the JSON schema of a pipeline's YAML, for editors."""
    from aeflow.cli.output import print_json
    from aeflow.config import json_schema

    print_json(json_schema())


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", help="Where to put data, configs and reports. Default: demo, in AEFLOW_HOME if set."
        ),
    ] = None,
) -> None:
    """Run the main job on real data that ships inside packages: images and a series, end to end."""
    import os

    from aeflow.settings import home_for, prepare_environment

    if folder is None:
        folder = home_for() / "demo" if "AEFLOW_HOME" in os.environ else Path("demo")
    prepare_environment(home_for(folder / "configs" / "any.yaml"))
    from flows.demo import run_demo

    run_demo(folder, tell=print)
