"""The encoder and the decoder by themselves: embed, restore, generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline
from aeflow.wording import counted

if TYPE_CHECKING:
    from enum import StrEnum

    from flows.embed_batch import Embedded
    from flows.generate_items import Generated
    from flows.restore_batch import Restored

    Choice = TypeVar("Choice", bound=StrEnum)

BatchOption = Annotated[str, typer.Option("--batch", metavar="ID", help="Which batch.")]
VersionOption = Annotated[int | None, typer.Option(help="Detector version. Default: the champion.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (embed, restore, generate):
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
        str, typer.Option("--colour", metavar="score|class|verdict", help="What the map's colours stand for.")
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
    from flows.embed_batch import embed_batch
    from flows.embedding_maps import Colour

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


def restore(
    config: ConfigArgument,
    batch: BatchOption,
    version: VersionOption = None,
    spoil: Annotated[
        list[str] | None,
        typer.Option(
            "--spoil",
            metavar="KIND=NUMBER",
            help="Spoil the items first, such as masking_noise=0.3 or downsampling=2. May be repeated.",
        ),
    ] = None,
    clean: Annotated[
        Path | None, typer.Option("--clean", metavar="FOLDER", help="Clean images of the same names.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write what the network makes of a batch's items: denoised, filled in or enlarged, beside the input."""
    from aeflow.cli.output import print_json
    from aeflow.cli.progress import progress_bar
    from flows.restore_batch import restore_batch

    path = open_pipeline(config)
    with progress_bar("restoring") as bar:
        done = restore_batch(path, batch, version=version, spoil=spoil or (), clean=clean, progress=bar)
    if json:
        print_json(done.to_json())
    else:
        _print_restored(done)


def generate(
    config: ConfigArgument,
    *,
    count: Annotated[int, typer.Option(help="Items to draw.")] = 64,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option("--between", metavar="ITEM ITEM", help="Go from one item of --batch to another."),
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="With --between.")] = None,
    traverse: Annotated[
        bool, typer.Option("--traverse", help="Vary each number of the code by itself.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Of --between and --traverse.")] = 9,
    seed: Annotated[int, typer.Option(help="Decides what is drawn.")] = 0,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Draw items from a variational model, go from one item to another, vary the numbers of its code."""
    from aeflow.cli.output import print_json
    from flows.generate_items import generate_items

    path = open_pipeline(config)
    done = generate_items(
        path,
        count=count,
        between=between,
        batch=batch,
        traverse=traverse,
        steps=steps,
        seed=seed,
        version=version,
    )
    if json:
        print_json(done.to_json())
    else:
        _print_generated(done)


def _one_of(choices: type[Choice], name: str, option: str) -> Choice:
    from aeflow.exceptions import InputError

    if name not in set(choices):
        raise InputError(f"expected one of {', '.join(choices)}, got {name!r}", where=option)
    return choices(name)


def _print_embedded(done: Embedded) -> None:
    from aeflow.cli.output import print_table

    print(
        f"{done.pipeline}, batch {done.batch}: codes of {counted(done.items, 'item')} by detector {done.version}, "
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


_WAYS = {"input": "as the network saw it", "trivial": "restored plainly", "restored": "by the network"}
_FIGURES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "rmse": "RMSE (in deviations of each channel)"}


def _print_restored(done: Restored) -> None:
    from aeflow.cli.output import print_table

    print(
        f"{done.pipeline}, batch {done.batch}: {counted(done.items, 'item')} restored by detector {done.version}, "
        f"{done.left_out:,} left out."
    )
    print(f"  {done.folder}")
    if not done.quality:
        print("  How good they are is not known: give --spoil KIND=NUMBER, or --clean FOLDER.")
        return
    figures = [name for name in _FIGURES if f"{name}_restored" in done.quality]
    ways = [way for way in _WAYS if f"{figures[0]}_{way}" in done.quality]
    print_table(
        [f"mean of {done.compared:,}, against the clean ones", *(_FIGURES[name] for name in figures)],
        [[_WAYS[way], *(f"{done.quality[f'{name}_{way}']:.3f}" for name in figures)] for way in ways],
    )


def _print_generated(done: Generated) -> None:
    print(f"{done.pipeline}, detector {done.version}: {', '.join(done.what)}.")
    for name in done.files:
        print(f"  {done.folder / name}")
