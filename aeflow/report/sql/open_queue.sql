-- Flags that wait for a verdict: nobody said true or false, or two differ. The most severe first.
-- $rows = 100: at most so many.
select
    flags.batch,
    round(flags.severity, 1) as severity,
    coalesce(nullif(flags.item, ''), flags.entity) as what,
    flags.start,
    flags.channels[1].channel as channel,
    coalesce(standings.standing, 'open') as state,
    flags.flag_id
from flags
join batches using (batch)
left join standings using (flag_id)
where
    coalesce(standings.standing, 'open') in ('open', 'unsure', 'disputed')
    and not coalesce(flags.suppressed, false)
order by flags.severity desc, flags.p_value, batches.number desc, flags.flag_id
limit $rows
