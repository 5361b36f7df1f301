-- Detectors side by side: what each flagged, and how much of it was true.
with reviewed as (
    select
        batch,
        count(*) filter (standing = 'true') as confirmed,
        count(*) filter (standing = 'false') as refuted
    from standings
    group by batch
)

select
    batches.detector_version as detector,
    count(*) as nights,
    arg_min(batches.batch, batches.number) as first_batch,
    arg_max(batches.batch, batches.number) as last_batch,
    sum(batches.scored)::bigint as scored,
    sum(batches.flags)::bigint as flags,
    avg(batches.flags) as flags_per_night,
    avg(batches.expected_false_flags) as expected_false_flags,
    count(*) filter (batches.promise_kept = false) as promise_not_kept,
    coalesce(sum(reviewed.confirmed), 0)::bigint as confirmed,
    coalesce(sum(reviewed.refuted), 0)::bigint as refuted,
    precision_of(sum(reviewed.confirmed), sum(reviewed.refuted)) as precision,
    precision_low(sum(reviewed.confirmed), sum(reviewed.refuted)) as precision_low,
    precision_high(sum(reviewed.confirmed), sum(reviewed.refuted)) as precision_high
from batches
left join reviewed using (batch)
group by batches.detector_version
order by detector
