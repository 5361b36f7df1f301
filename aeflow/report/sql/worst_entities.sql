-- Entities (of images: folders) by how many flags they had.
-- $nights = 30: so many nights, up to the last.
-- $rows = 20: at most so many entities.
select
    coalesce(nullif(flags.entity, ''), nullif(parse_dirpath(flags.item), ''), flags.pipeline) as entity,
    count(*) as flags,
    count(distinct flags.batch) as nights,
    round(max(flags.severity), 1) as highest_severity,
    mode(flags.channels[1].channel order by flags.channels[1].channel) as usual_channel,
    count(*) filter (standings.standing = 'true') as confirmed,
    count(*) filter (standings.standing = 'false') as refuted,
    arg_max(flags.batch, batches.number) as last_batch
from flags
join batches using (batch)
left join standings using (flag_id)
where
    batches.number > (select max(number) from batches) - $nights
    and not coalesce(flags.suppressed, false)
group by 1
order by flags desc, highest_severity desc, entity
limit $rows
