"""Which image files belong to a batch, and which to the history.

Without a manifest the images are the files below the root that fit `include` and not `exclude`. With
one they are the files that it lists, less `exclude`; `include` does not matter, for what was listed by
name is accounted for, whatever its suffix. Listed images may be missing: taking them in says so.

With `batch.by: folder` a file directly in the root belongs to no batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow.config import ImageSource
from aeflow.data.below_root import any_glob, folders_in, is_utf8, readable, walk
from aeflow.data.history import batch_not_found, select_history
from aeflow.data.image_manifest import read_manifest
from aeflow.exceptions import InputError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from aeflow.config import PipelineConfig

ALL = "all"
"""The id of the one batch of `batch.by: source`."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of the source."""

    item: str
    """Path below the source's root, parts joined by /."""
    group: str | None = None
    """Images of one group show the same thing; a split never parts them."""


def image_source(config: PipelineConfig) -> ImageSource:
    """The pipeline's source of images.

    Raises:
        InputError: the pipeline is one of series.
    """
    if not isinstance(config.source, ImageSource):
        msg = f"expected a source of images, got one of kind {config.source.kind}"
        raise InputError(msg, where=config.name)
    return config.source


def root_of(config: PipelineConfig) -> Path:
    """The source's root folder, absolute and free of links.

    Raises:
        SourceError: there is no such folder.
    """
    named = image_source(config).root
    root = (config.folder / named).resolve()
    if not root.is_dir():
        msg = f"expected the folder of images, and there is {'a file' if root.exists() else 'nothing'}"
        raise SourceError(msg, where=str(root), remedy=f"Mend source.root ({named!r}) in the config.")
    return root


def survey_images(config: PipelineConfig) -> tuple[list[str], dict[str, str]]:
    """Ids of the batches in the source, sorted; and each folder that holds images and can be no batch, and why.

    Raises:
        SourceError: the source or its manifest cannot be read.
        ConfigError: a glob or a pattern of the manifest is not valid for this source.
    """
    source, root = image_source(config), root_of(config)
    if config.batch.by == "source":
        return [ALL], {}
    if source.manifest is not None:
        return sorted({batch for batch, _ in _listed(config, root)}), {}
    found = [name for name in folders_in(root) if any(True for _ in _matching(source, root, name))]
    nameless = {
        f"{readable(name)}/": "the folder's name is no UTF-8, and so names no batch"
        for name in found
        if not is_utf8(name)
    }
    return [name for name in found if is_utf8(name)], nameless


def list_image_batches(config: PipelineConfig) -> list[str]:
    """The ids of `survey_images`; raises as it."""
    return survey_images(config)[0]


def images_of(config: PipelineConfig, batch: str) -> list[ImageRef]:
    """The images of one batch, sorted by item, each once. Whether they can be read is not looked at; a folder
    that cannot be looked into counts as one, named with a / at its end.

    Raises:
        BatchNotFound: the source holds no such batch.
        SourceError, ConfigError: as `list_image_batches`.
    """
    source, root = image_source(config), root_of(config)
    whole = config.batch.by == "source"
    if whole and batch != ALL:
        raise batch_not_found(batch, [ALL], where=str(root))
    if source.manifest is not None:
        refs = _once(ref for named, ref in _listed(config, root) if named == batch)
    elif whole or batch in folders_in(root):
        refs = _once(ImageRef(item) for item in _matching(source, root, "" if whole else batch))
    else:
        refs = []
    if not refs and not whole:
        raise batch_not_found(batch, list_image_batches(config), where=str(root))
    return refs


def images_by_batch(config: PipelineConfig) -> dict[str, list[ImageRef]]:
    """Batch id -> its images, as `images_of` gives them, in one pass over the source.

    Raises:
        SourceError, ConfigError: as `list_image_batches`.
    """
    source, root = image_source(config), root_of(config)
    found: dict[str, list[ImageRef]] = {}
    if source.manifest is not None:
        for batch, ref in _listed(config, root):
            found.setdefault(batch, []).append(ref)
        return {batch: _once(refs) for batch, refs in sorted(found.items())}
    return {batch: images_of(config, batch) for batch in list_image_batches(config)}


def history_images(config: PipelineConfig) -> list[ImageRef]:
    """The images of all batches that `config.history` chooses, sorted by item, each once.

    Raises:
        BatchNotFound: the history names a batch that does not exist, or chooses none.
        SourceError, ConfigError: as `list_image_batches`.
    """
    batches = select_history(config, list_image_batches(config))
    if image_source(config).manifest is None:
        return _once(ref for batch in batches for ref in images_of(config, batch))
    root, chosen = root_of(config), set(batches)
    return _once(ref for batch, ref in _listed(config, root) if batch in chosen)


def _matching(source: ImageSource, root: Path, below: str) -> Iterator[str]:
    wanted, unwanted = any_glob(source.include), any_glob(source.exclude)
    for item in walk(root, below):
        # What lies in a folder that cannot be looked into may be wanted.
        if (item.endswith("/") or wanted.fullmatch(item)) and not unwanted.fullmatch(item):
            yield item


def _listed(config: PipelineConfig, root: Path) -> Iterator[tuple[str, ImageRef]]:
    """Batch and image of each row of the manifest."""
    source = image_source(config)
    assert source.manifest is not None
    unwanted = any_glob(source.exclude)
    for entry in read_manifest(root, source.manifest):
        if unwanted.fullmatch(entry.item):
            continue
        ref = ImageRef(entry.item, entry.group)
        folder, slash, _ = entry.item.partition("/")
        if config.batch.by == "source":
            yield ALL, ref
        elif config.batch.by == "manifest":
            assert entry.batch is not None
            yield entry.batch, ref
        elif slash:
            yield folder, ref


def _once(refs: Iterable[ImageRef]) -> list[ImageRef]:
    """Sorted by item; a manifest may list an image in several rows, but in one group only."""
    known: dict[str, ImageRef] = {}
    for ref in refs:
        first = known.setdefault(ref.item, ref)
        if first.group != ref.group:
            msg = f"expected one group for each image, got {first.group!r} and {ref.group!r}"
            raise SourceError(msg, where=ref.item, remedy="Mend the manifest, or source.manifest.group.")
    return [known[item] for item in sorted(known)]
