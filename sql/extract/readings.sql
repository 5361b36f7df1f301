-- One batch of sensor readings: every row of the period, in any order.
-- :start (inclusive) and :end (exclusive) are bound by aeflow; the columns are named in the config.
-- In SQLite write datetime(recorded_at) >= :start and datetime(recorded_at) < :end.
select
    machine,
    recorded_at,
    temperature,
    pressure,
    vibration
from readings
where recorded_at >= :start
  and recorded_at < :end
