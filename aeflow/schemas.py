"""The stored tables: column names, types and meanings. A new column may come with a new version;
none changes its meaning.

Legend: C channels. Times are UTC, microseconds. Scores: higher is more abnormal.
"""

from __future__ import annotations

import pyarrow as pa

VERSION = "1"

TIME = pa.timestamp("us", tz="UTC")
_EVIDENCE = pa.list_(pa.float32())

SCORED = "scored"
NOT_SCORABLE = "not_scorable"


def with_size(schema: pa.Schema, column: str, size: int) -> pa.Schema:
    """The schema with the lists of a column of one size."""
    place = schema.get_field_index(column)
    return schema.set(place, pa.field(column, pa.list_(schema.field(place).type.value_type, size)))


def _schema(kind: str, fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema(fields, metadata={"aeflow.table": kind, "aeflow.schema_version": VERSION})


_JUDGED: list[tuple[str, pa.DataType]] = [
    ("state", pa.string()),  # scored | not_scorable
    ("reason", pa.string()),  # a code of REASONS where not scorable
    ("score", pa.float32()),  # higher is more abnormal; null where not scorable
    ("p_value", pa.float64()),  # how often normal data score at least as high
    ("severity", pa.float32()),  # 0..100; 50 is the cut
    ("flag", pa.bool_()),  # abnormal at the cut of the promise
    ("flag_id", pa.string()),  # the row of flags.parquet that this item belongs to
    ("channel", pa.string()),  # the channel with the largest contribution
    ("contributions", _EVIDENCE),  # (C,), sum to the score
]

SERIES_SCORES = _schema(
    "scores",
    [
        ("entity", pa.string()),  # the machine, line or series; "" where there is one
        ("timestamp", TIME),  # of the row, as it came
        *_JUDGED,
        ("observed", _EVIDENCE),  # (C,) in the channel's unit; null where missing
        ("expected", _EVIDENCE),  # (C,) the reconstruction in the channel's unit
    ],
)

IMAGE_SCORES = _schema(
    "scores",
    [
        ("item", pa.string()),  # path below the source's root
        ("sha256", pa.string()),  # of the file
        ("width_px", pa.int32()),  # of the stored image
        ("height_px", pa.int32()),  # of the stored image
        *_JUDGED,
    ],
)

_CHANNEL_SHARE = pa.struct(
    [
        ("channel", pa.string()),  # its name
        ("share", pa.float32()),  # of the score, 0..1, that it is put down to; those of a flag sum to 1
        ("contribution", pa.float32()),  # where the error lies; the contributions of a flag sum to its score
        ("observed", pa.float32()),  # series: at the peak, in the channel's unit
        ("expected", pa.float32()),  # series: at the peak, in the channel's unit
        ("tolerance", pa.float32()),  # series: half the expected band; all so far off are at the cut
    ]
)

_BOX = pa.struct(
    [
        ("x_px", pa.int32()),  # left edge in the original image
        ("y_px", pa.int32()),  # top edge
        ("width_px", pa.int32()),  # of the box
        ("height_px", pa.int32()),  # of the box
        ("share", pa.float32()),  # of the error map's sum that lies in the box
    ]
)

_NEIGHBOUR = pa.struct(
    [
        ("item", pa.string()),  # path of the image when the detector was trained, or the entity
        ("distance", pa.float32()),  # of the signatures; two normal items lie within 1
        ("picture", pa.binary()),  # images: small, WebP; of an image in tiles, one of its tiles
    ]
)

FLAGS = _schema(
    "flags",
    [
        ("flag_id", pa.string()),  # stable over revisions: made of pipeline, batch, entity and item or start
        ("pipeline", pa.string()),  # its name
        ("batch", pa.string()),  # its id
        ("entity", pa.string()),  # "" for images
        ("item", pa.string()),  # images: path below the source's root
        ("sha256", pa.string()),  # images: of the file
        ("start", TIME),  # series: first flagged point
        ("peak", TIME),  # series: point with the highest score
        ("end", TIME),  # series: last flagged point
        ("points", pa.int32()),  # series: flagged points in the event
        ("score", pa.float32()),  # series: at the peak
        ("p_value", pa.float64()),  # series: at the peak
        ("severity", pa.float32()),  # 0..100; 50 is the cut
        ("judged_by", pa.string()),  # series: whose normal scores judged it: own, cohort NAME, or all
        ("channels", pa.list_(_CHANNEL_SHARE)),  # largest share first
        ("boxes", pa.list_(_BOX)),  # images: worst regions first
        ("signature", _EVIDENCE),  # (S,) of its code; two of one detector that lie within 1 are usually alike
        ("neighbours", pa.list_(_NEIGHBOUR)),  # the normal items most like it that the detector keeps
        ("suppressed", pa.bool_()),  # listed, but no flag that counts: like one that was called false
        ("suppressed_by", pa.string()),  # the flag that it is like; also where it was only downgraded
        ("suppressed_reason", pa.string()),  # in words: like which flag, who called it false, and when
        ("suppressed_until", TIME),  # when that verdict ceases to bear on others
        ("window", _EVIDENCE),  # series: (T C,) in the channels' units, the window that ends at the peak
        ("image_png", pa.binary()),  # images: the item as the detector sees it, in 8 bit
        ("reconstruction_png", pa.binary()),  # images: what was expected
        ("heatmap_png", pa.binary()),  # images: the error map, 8-bit grey, 255 = the map's maximum
    ],
)

PRECEDENTS = _schema(
    "precedents",
    [
        ("flag_id", pa.string()),  # the reviewed flag
        ("batch", pa.string()),  # that it was raised in
        ("entity", pa.string()),  # "" for images
        ("verdict", pa.string()),  # false: its likes are suppressed; true: it kept a flag from being so
        ("reviewer", pa.string()),  # who said it
        ("at", TIME),  # when
        ("until", TIME),  # when it ceases to bear on others
        ("score", pa.float32()),  # by the detector of this report
        ("direction", _EVIDENCE),  # (C,) of length 1: which channels caused it, up or down
        ("box", pa.list_(pa.int32())),  # images: x_px, y_px, width_px, height_px of its worst box
        ("signature", _EVIDENCE),  # (S,) by the detector of this report
    ],
)

QUARANTINE = _schema(
    "quarantine",
    [
        ("batch", pa.string()),  # that it came with
        ("entity", pa.string()),  # "" for images
        ("file", pa.string()),  # path below the source's root, or the query's file
        ("row", pa.int64()),  # 1-based data row (the header is not counted); null for a file as a whole
        ("timestamp", TIME),  # of the row, where it could be read
        ("reason", pa.string()),  # a code of REASONS
        ("rule", pa.string()),  # the rule in words, with its limit
        ("detail", pa.string()),  # what came
    ],
)

_READ_CLASSES: list[tuple[str, pa.DataType]] = [
    ("class", pa.string()),  # as named in the file of classes; null where not
    ("predicted_class", pa.string()),  # by a linear classifier that saw neither the item nor its group
    ("probability", pa.float32()),  # of the predicted class, 0..1
]

CLASS_COLUMNS = tuple(name for name, _ in _READ_CLASSES)

IMAGE_EMBEDDINGS = _schema(
    "embeddings",
    [
        ("item", pa.string()),  # path below the source's root
        ("sha256", pa.string()),  # of the file
        ("code", _EVIDENCE),  # (D,); of an image in tiles the mean of their codes
        *_READ_CLASSES,
    ],
)

SERIES_EMBEDDINGS = _schema(
    "embeddings",
    [
        ("entity", pa.string()),  # the machine, line or series; "" where there is one
        ("timestamp", TIME),  # of the row, as it came
        ("code", _EVIDENCE),  # (D,) of the window that ends at the row; nulls where that is not whole
        *_READ_CLASSES,
    ],
)

RESTORED_IMAGES = _schema(
    "restored",
    [
        ("item", pa.string()),  # path below the source's root
        ("sha256", pa.string()),  # of the file
        ("psnr_input", pa.float32()),  # dB, what the network saw against the clean image
        ("psnr_trivial", pa.float32()),  # dB, the plain restoration; null where what was spoiled is not known
        ("psnr_restored", pa.float32()),  # dB, what the network made of it
        ("ssim_input", pa.float32()),  # mean structural similarity, at most 1, of the same three
        ("ssim_trivial", pa.float32()),  # of the plain restoration
        ("ssim_restored", pa.float32()),  # of what the network made of it
    ],
)

RESTORED_SERIES = _schema(
    "restored",
    [
        ("entity", pa.string()),  # the machine, line or series; "" where there is one
        ("timestamp", TIME),  # of the row, as it came
        ("observed", _EVIDENCE),  # (C,) in the channel's unit; null where missing
        ("spoiled", _EVIDENCE),  # (C,) what the network saw; null where hidden, and where nothing was spoiled
        ("restored", _EVIDENCE),  # (C,) what it made of it; null where no whole window ends at the row
    ],
)

COMPARED = _schema(
    "compared",
    [
        ("detector", pa.string()),  # its version and family, linear baseline, isolation forest
        ("batch", pa.string()),  # its id
        ("entity", pa.string()),  # "" for images, and where there is one series
        ("timestamp", TIME),  # series: of the row, as it came
        ("item", pa.string()),  # images: path below the source's root
        ("label", pa.bool_()),  # abnormal, as labelled
        ("score", pa.float32()),  # higher is more abnormal; null where not scorable
        ("p_value", pa.float64()),  # how often normal data score at least as high
        ("flag", pa.bool_()),  # series: of an event
    ],
)

BATCHES = _schema(
    "batches",
    [
        ("batch", pa.string()),  # its id
        ("number", pa.int64()),  # 1 for the first, in the order of their beginnings and ids
        ("period_start", TIME),  # null where a batch is no period
        ("period_end", TIME),  # exclusive
        ("detector_version", pa.int64()),  # that scored it
        ("rows_in", pa.int64()),  # rows or files that came = scored + not_scorable + quarantined
        ("scored", pa.int64()),  # rows or images with a score
        ("not_scorable", pa.int64()),  # valid, yet without a score
        ("quarantined", pa.int64()),  # set aside
        ("flags", pa.int64()),  # those that count
        ("suppressed", pa.int64()),  # flags that count as none, being like one that was called false
        ("flagged_rows", pa.int64()),  # series: points of all events
        ("entities", pa.int64()),  # of the batch; 0 for images
        ("flagged_entities", pa.int64()),  # those with flags
        ("promise", pa.string()),  # false_flags_per_batch or false_discovery_rate
        ("promised", pa.float64()),  # so many, or such a share
        ("expected_false_flags", pa.float64()),  # that the calibration found achievable; null with a rate
        ("promise_kept", pa.bool_()),  # false: the scores moved away from the calibration
        ("score_median", pa.float64()),  # of the scored
        ("score_p99", pa.float64()),  # of the scored
        ("score_max", pa.float64()),  # of the scored
        ("checks_passed", pa.int64()),  # of the batch
        ("checks_failed", pa.int64()),  # of the batch
        ("weak_channels", pa.int64()),  # not in full health
        ("sentence", pa.string()),  # what happened
    ],
)

VERDICTS = _schema(
    "verdicts",
    [
        ("flag_id", pa.string()),  # of flags
        ("batch", pa.string()),  # of the flag
        ("word", pa.string()),  # true, false, unsure or retracted
        ("reviewer", pa.string()),  # who said it
        ("at", TIME),  # when
        ("note", pa.string()),  # "" where there is none
        ("detector_version", pa.int64()),  # of the report that was looked at
    ],
)

STANDINGS = _schema(
    "standings",
    [
        ("flag_id", pa.string()),  # of flags
        ("batch", pa.string()),  # of the flag
        ("standing", pa.string()),  # true, false, unsure or disputed: what holds after all that was said
        ("reviewers", pa.int64()),  # whose word holds
        ("last_at", TIME),  # of the last word that holds
    ],
)

REASONS: dict[str, str] = {
    # rows, set aside
    "unreadable_file": "the file of a table cannot be read to its end: it counts as one row",
    "missing_column": "the file lacks a column that the config names, or has none of single values",
    "malformed_row": "the line does not have the columns of the file",
    "bad_timestamp": "the time is missing or cannot be read",
    "mixed_time_zone": "the time has no offset while others in the file have one",
    "ambiguous_local_time": "the local time occurs twice or not at all (daylight saving)",
    "bad_number": "a channel holds text that is no number",
    "not_finite": "a channel holds an infinity, or a number beyond what float32 can hold",
    "no_value": "every channel is missing",
    "no_entity": "the entity is missing",
    "out_of_limits": "a channel is outside what its instrument can show",
    "duplicate_timestamp": "the entity has an earlier row of the same time",
    # images, set aside
    "outside_root": "a link leads out of the source's root",
    "unreadable": "the file cannot be opened",
    "zero_bytes": "the file is empty",
    "not_an_image": "the content is no PNG, JPEG, TIFF or BMP",
    "truncated": "the image is damaged or cut off",
    "too_many_pixels": "the image is larger than source.max_pixels",
    "wrong_mode": "the pixel format cannot be converted without loss of meaning",
    "too_small": "the image is smaller than one tile",
    # fit, yet nothing is learnt from it
    "confirmed_abnormal": "a person confirmed that it is abnormal",
    "flagged": "it is flagged, and nobody called the flag false",
    # valid, yet not scorable
    "no_context": "the window before it is not complete (start of the data, or a gap)",
}
