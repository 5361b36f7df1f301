-- The flags of the last night, the most severe first, with what was said of them.
-- $nights = 1: so many nights, up to the last.
select
    flags.batch,
    round(flags.severity, 1) as severity,
    coalesce(nullif(flags.item, ''), flags.entity) as what,
    flags.start,
    flags."end",
    flags.channels[1].channel as channel,
    flags.channels[1].share as share,
    standings.standing,
    flags.flag_id
from flags
join batches using (batch)
left join standings using (flag_id)
where
    batches.number > (select max(number) from batches) - $nights
    and not coalesce(flags.suppressed, false)
order by batches.number desc, flags.severity desc, flags.p_value, flags.flag_id
