"""Checks, preparation, training, calibration, compute and report: one class a section."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aeflow.config.base import Section
from aeflow.config.corruptions import Corruption

ErrorKind = Literal["mse", "mae", "huber", "bce", "ssim", "ms_ssim", "gms", "ms_gms"]
"""How far what is expected lies from what came; see `aeflow.models.errors`."""


_FEWEST_BASELINE_POINTS = 16


class Checks(Section):
    """What is fit to score, and when a whole batch is not."""

    max_quarantined_share: float = Field(default=0.2, ge=0, le=1)
    """A batch of which more than this share is set aside is refused."""
    max_null_share: float = Field(default=0.2, ge=0, le=1)
    """A channel with a larger share of missing values is graded down."""
    limits: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Channel -> [low, high]: what the instrument can show. A row outside is set aside."""
    range_margin: float = Field(default=0.5, ge=0)
    """The range seen in the history is widened by this share of its width on each side before
    values beyond it grade a channel down."""

    @model_validator(mode="after")
    def _ordered_limits(self) -> Self:
        for channel, (low, high) in self.limits.items():
            if not low < high:
                msg = f"limits of {channel!r} must be [low, high] with low < high, not [{low:g}, {high:g}]"
                raise ValueError(msg)
        return self


class ImagePrepare(Section):
    """From files to arrays `(N, C, H, W)` in 0..1."""

    kind: Literal["images"] = "images"
    color: Literal["grey", "rgb"] = "grey"
    """grey: colours are turned into their luma; rgb: three bands."""
    height_px: int = Field(default=64, ge=8, le=4096)
    """Height of the image, or of a tile, that the network sees."""
    width_px: int = Field(default=64, ge=8, le=4096)
    """Its width."""
    fit: Literal["resize", "tile"] = "resize"
    """resize: the whole image is brought to height x width; tile: it is cut into tiles of that
    size in its own resolution, and each tile is scored."""
    tile_overlap_px: int = Field(default=0, ge=0)
    """With fit: tile. By so much neighbouring tiles overlap."""
    contrast: Literal["none", "local"] = "none"
    """What the network is shown. none: the pixels; local: each less the mean of the square around it, in units
    of the deviation there, so that neither brightness nor slow changes of light count. What people are shown
    are pixels all the same."""
    contrast_px: int = Field(default=9, ge=3, le=511)
    """With contrast: local. Side of that square in pixels of the network, odd."""

    @model_validator(mode="after")
    def _sizes_fit_together(self) -> Self:
        if self.tile_overlap_px >= min(self.height_px, self.width_px):
            msg = f"tile_overlap_px ({self.tile_overlap_px}) must be smaller than the tile"
            raise ValueError(msg)
        if self.contrast_px % 2 == 0:
            msg = f"contrast_px ({self.contrast_px}) must be odd: the square has a pixel in its middle"
            raise ValueError(msg)
        return self


class SeriesPrepare(Section):
    """From rows to windows `(N, T, C)` on a regular grid."""

    kind: Literal["series"] = "series"
    cadence_seconds: float | None = Field(default=None, gt=0)
    """The step of the grid. None: learnt for each entity from its history (median step)."""
    resample: Literal["nearest", "mean"] = "nearest"
    """nearest: a row goes to the nearest grid point, the first row there counts; mean: a grid
    point is the mean of the rows in its step."""
    max_gap_points: int = Field(default=5, ge=0)
    """Up to this many missing grid points are bridged by the last value, marked as not observed;
    a longer gap ends the segment, and no window crosses it."""
    window_points: int = Field(default=32, ge=1, le=4096)
    """Points that the network sees at once; the last of them is scored."""
    scale: Literal["robust", "deviation", "common"] = "robust"
    """What each channel of an entity is divided by. robust: its interquartile range, which outliers in the
    history do not move; deviation: its standard deviation, which does justice to a channel that stands still
    most of the time and moves at others; common: the standard deviation of all channels together, for channels
    that are readings of one quantity, such as the points of a heartbeat, and count in its unit."""
    train_stride_points: int = Field(default=1, ge=1)
    """Every how many points a training window begins. Scoring always takes every point."""


Prepare = Annotated[ImagePrepare | SeriesPrepare, Field(discriminator="kind")]


class Training(Section):
    """How the network is fitted. Families with a closed form use none of it."""

    loss: ErrorKind = "mse"
    """mse: squares, so that few large errors count; mae: absolute; huber: squares up to 1, absolute
    beyond. Images also: bce, cross-entropy, for a network whose output lies in 0..1; ssim and ms_ssim:
    structural similarity, at one or several scales; gms and ms_gms: similarity of the magnitudes of gradients,
    which knows edges alone: as a loss it leaves brightness open, so rather for `scoring.error`."""
    corruption: tuple[Corruption, ...] = ()
    """How items are spoiled before the network sees them, one after the other; it is to give back the
    clean ones. Such as [{kind: masking_noise, share: 0.3}]."""
    epochs: int = Field(default=60, ge=1)
    """At most so many passes over the training items."""
    batch_size: int = Field(default=64, ge=1)
    """Items of one training step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size of the optimiser (AdamW)."""
    schedule: Literal["constant", "cosine"] = "constant"
    """cosine: the step size falls to nothing over `epochs`, so that the weights settle where constant steps
    keep them wandering; give as many epochs as it takes, since it will seldom stop early."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Pulls the weights towards zero."""
    patience_epochs: int = Field(default=6, ge=1)
    """Stops after this many epochs without a better validation loss; the best weights are kept."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that has it, float32 elsewhere. Scoring is always float32."""
    max_train_windows: int | None = Field(default=None, ge=1)
    """Draw at most this many training items per epoch (seeded). None: all."""


class Scoring(Section):
    """What a score is made of."""

    error: ErrorKind | None = None
    """The error that is scored, one of those of `training.loss`. None: that very one."""
    spread: Literal["band", "pixel"] = "band"
    """Images: in units of what errors are. band: of how large they usually are in a band; pixel: of how large they
    usually are at that pixel of images that trained nothing, for parts that always lie alike: where normal
    images differ, an error counts for less. Not with prepare.fit tile, whose pixels show other places."""
    smooth_px: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(default=(3,), min_length=1)
    """Images: errors are averaged over a square of so many pixels a side, of which the worst 2 % make the score. Of
    several sizes, such as [3, 9, 21], the mean of the averages counts, and is what the heat map shows: small ones
    keep what is sharp, large ones gather what is faint."""
    points: Literal["last", "window"] = "last"
    """Series: last: a score is of what was not expected of a window's last point; window: of all of its points,
    so that an odd shape counts as a whole, and is found as long as the window holds it."""
    distance: Literal["channels", "mahalanobis"] = "channels"
    """Series: channels: the errors of the channels, each in units of its own spread; mahalanobis: of what
    channels usually err together, too, so that one that leaves the others counts for more."""
    smooth_points: int = Field(default=1, ge=1, le=1000)
    """Series: a score is the mean of those of the last so many grid points, its own among them: noise is
    averaged out, and a fault that lasts stands out. 1: none."""
    point_weight: float = Field(default=0.0, ge=0, lt=1)
    """Series, with smooth_points: what the point's own score weighs beside that mean, of which the geometric
    mean is taken: a fault of a few points, which the mean alone spreads out, is found beside those that last."""
    baseline_points: int = Field(default=0, ge=0, le=100_000)
    """Series: scores are divided by the level they had at so many grid points before, for entities whose
    usual scores wander; as far as that past is missing, by the level of the history. So many points are
    scored again with each batch, and a fault that lasts half of them is taken for normal in the end. 0:
    scores are taken as they are."""
    baseline_quantile: float = Field(default=0.5, gt=0, lt=1)
    """Series: that level is this quantile of them."""

    @model_validator(mode="after")
    def _options_fit_together(self) -> Self:
        if 0 < self.baseline_points < _FEWEST_BASELINE_POINTS:
            msg = f"scoring.baseline_points must be 0 or at least {_FEWEST_BASELINE_POINTS}, not {self.baseline_points}"
            raise ValueError(msg)
        if self.point_weight and self.smooth_points == 1:
            msg = "scoring.point_weight is what a point weighs beside the mean over smooth_points: give 2 or more"
            raise ValueError(msg)
        if self.points == "window" and self.distance == "mahalanobis":
            msg = "scoring.distance mahalanobis is of a window's last point: set scoring.points to last"
            raise ValueError(msg)
        return self


class Calibration(Section):
    """What turns scores into p-values and flags. Exactly one promise is made."""

    rule: Literal["conformal", "quantile", "peaks_over_threshold"] = "peaks_over_threshold"
    """How scores become p-values. conformal: by rank among the calibration scores, which can promise
    no less than one false flag in as many items; peaks_over_threshold: a generalised Pareto tail
    beyond the 90 % quantile, which can; quantile: the cut is an interpolated quantile."""
    false_flags_per_batch: float | None = Field(default=None, gt=0)
    """The promise: at most this many false flags (images or events) are expected in a batch."""
    false_discovery_rate: float | None = Field(default=None, gt=0, lt=1)
    """The promise: at most this share of the flags of a batch is false (Benjamini-Hochberg)."""
    storey: bool = False
    """With false_discovery_rate: estimate from each batch how many of its items are normal (Storey). Finds
    more where much of a batch is abnormal, and the same where little is."""
    items_per_batch: float | None = Field(default=None, gt=0)
    """How many images or rows a batch is expected to hold. None: as many as those of the history."""
    merge_gap_points: int = Field(default=3, ge=0)
    """Series: flagged points at most this many grid points apart belong to one event."""
    min_event_points: int = Field(default=1, ge=1)
    """Series: shorter events are not flagged."""
    rest_points: int = Field(default=0, ge=0)
    """Series: for so many grid points after an event nothing of its entity is flagged; what goes on
    beyond them is a new event. A rest does not reach into the next batch."""

    @model_validator(mode="after")
    def _one_promise(self) -> Self:
        if (self.false_flags_per_batch is None) == (self.false_discovery_rate is None):
            msg = "give exactly one promise: false_flags_per_batch or false_discovery_rate"
            raise ValueError(msg)
        if self.storey and self.false_discovery_rate is None:
            msg = "storey belongs to a false_discovery_rate; with false_flags_per_batch leave it out"
            raise ValueError(msg)
        return self


class Compute(Section):
    """Where and in what portions to compute. Nothing here changes a score."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: a GPU if there is one."""
    chunk_items: int = Field(default=512, ge=1)
    """Windows or images that go through the network at once while scoring."""
    workers: int = Field(default=0, ge=0)
    """Threads that decode images. 0: one per core."""


class Report(Section):
    """What the report shows."""

    max_evidence_flags: int = Field(default=200, ge=0)
    """Pictures and plots are kept for this many flags, the most severe first; every flag is listed."""
    context_points: int = Field(default=60, ge=0)
    """Series: points shown before and after an event."""
