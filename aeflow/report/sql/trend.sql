-- Night by night: what was scored and flagged, and how much of what was reviewed was true.
-- $nights = 30: so many nights, up to the last.
with reviewed as (
    select
        batch,
        count(*) filter (standing = 'true') as confirmed,
        count(*) filter (standing = 'false') as refuted
    from standings
    group by batch
)

select
    batches.batch,
    batches.detector_version as detector,
    batches.scored,
    batches.quarantined,
    batches.flags,
    batches.suppressed,
    batches.expected_false_flags,
    batches.promise_kept,
    coalesce(reviewed.confirmed, 0) as confirmed,
    coalesce(reviewed.refuted, 0) as refuted,
    precision_of(reviewed.confirmed, reviewed.refuted) as precision,
    precision_low(reviewed.confirmed, reviewed.refuted) as precision_low,
    precision_high(reviewed.confirmed, reviewed.refuted) as precision_high
from batches
left join reviewed using (batch)
where batches.number > (select max(number) from batches) - $nights
order by batches.number
