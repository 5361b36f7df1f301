"""The encoder and the decoder by themselves: embed, restore, generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline

if TYPE_CHECKING:
    from enum import StrEnum

    from flows.embed_batch import Embedded

    Choice = TypeVar("Choice", bound=StrEnum)

BatchOption = Annotated[str, typer.Option("--batch", metavar="ID", help="Which batch.")]
VersionOption = Annotated[int | None, typer.Option(help="Detector version. Default: the champion.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (embed,):
        app.command()(command)


def embed(
    config: ConfigArgument,
    batch: BatchOption,
    version: VersionOption = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="pca|tsne|umap", help="Draw a map of the codes. May be repeated."),
    ] = None,
    colour: Annotated[
        str, typer.Option("--colour", metavar="score|class", help="What the map's colours stand for.")
    ] = "score",
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", help="CSV or Parquet: item or timestamp, and class."),
    ] = None,
    neighbours: Annotated[
        list[str] | None,
        typer.Option(
            "--neighbours",
            metavar="ITEM",
            help="Find the items nearest to this one: a path, or [ENTITY@]TIME. May be repeated.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write the code of every item of a batch; draw maps, find neighbours, read classes from the codes."""
    from aeflow.cli.output import print_json
    from aeflow.cli.progress import progress_bar
    from aeflow.numerics.projection import Projection
    from flows.embed_batch import Colour, embed_batch

    path = open_pipeline(config)
    with progress_bar("encoding") as bar:
        done = embed_batch(
            path,
            batch,
            version=version,
            maps=tuple(_one_of(Projection, name, "--map") for name in dict.fromkeys(maps or ())),
            colour=_one_of(Colour, colour, "--colour"),
            classes=classes,
            neighbours=neighbours or (),
            progress=bar,
        )
    if json:
        print_json(done.to_json())
    else:
        _print_embedded(done)


def _one_of(choices: type[Choice], name: str, option: str) -> Choice:
    from aeflow.exceptions import InputError

    if name not in set(choices):
        raise InputError(f"expected one of {', '.join(choices)}, got {name!r}", where=option)
    return choices(name)


def _print_embedded(done: Embedded) -> None:
    from aeflow.cli.output import print_table

    print(
        f"{done.pipeline}, batch {done.batch}: codes of {done.items:,} items by detector {done.version}, "
        f"{done.left_out:,} without one; {done.active} of their {done.code_size} numbers are active."
    )
    print(f"  {done.folder / 'embeddings.parquet'}")
    for name in done.maps:
        drawn = "" if done.drawn == done.items else f" ({done.drawn:,} of {done.items:,} items, drawn evenly)"
        print(f"  {done.folder / name}{drawn}")
    if done.accuracy is not None:
        found = done.accuracy
        print(
            f"Classes of {found.items:,} items read from their codes by a classifier that did not see them: "
            f"{found.right / found.items:.1%} right; the largest class is {found.majority / found.items:.1%}."
        )
    for one in done.neighbours:
        print()
        print_table(
            [f"nearest to {one.item}", "distance"], [[item, f"{away:.3f}"] for item, away in one.nearest]
        )
