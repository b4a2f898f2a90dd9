-- Each lane's number is one step in the index. Its head is the first row that is free,
-- or the end of a lease: all rows before the first free one are leased.
select lane, least(free, coalesce((
    select min(greatest(next_at, lease_until)) from items force index (items_due)
    where cur_state = 0 and items.lane = heads.lane and next_at < free
      and lease_until > unix_timestamp()
  ), free))
from (
  select lane, coalesce((
      select next_at from items force index (items_due)
      where cur_state = 0 and items.lane = lanes.lane and lease_until <= unix_timestamp()
      order by next_at limit 1
    ), 9223372036854775807) as free
  from (select distinct lane from items force index (items_due) where cur_state = 0) lanes
) heads
