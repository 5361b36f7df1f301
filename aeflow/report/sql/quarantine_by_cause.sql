-- What was set aside, by cause, with an example of each.
-- $nights = 30: so many nights, up to the last; nights without a report count as well.
with recent as (
    select quarantine.*
    from quarantine
    left join batches using (batch)
    where coalesce(batches.number, 9223372036854775807) > (select coalesce(max(number), 0) from batches) - $nights
)

select
    reason,
    count(*) as rows,
    count(distinct batch) as nights,
    max(batch) as last_batch,
    arg_max(concat(file, case when row is null then '' else concat(', row ', row) end), batch order by file, row) as example,
    arg_max(detail, batch order by file, row) as what_came
from recent
group by reason
order by rows desc, reason
