-- From each lane one step in the index to the next. Its head is the first row that is
-- free, or the end of a lease: all rows before the first free one are leased.
with recursive lanes(lane) as (
  select min(lane) from items where cur_state = 0
  union all
  select (select min(items.lane) from items where cur_state = 0 and items.lane > lanes.lane)
  from lanes where lanes.lane is not null
), heads(lane, free) as (
  select lane, coalesce((
      select next_at from items
      where cur_state = 0 and items.lane = lanes.lane
        and lease_until <= cast(floor(extract(epoch from clock_timestamp())) as bigint)
      order by next_at limit 1
    ), 9223372036854775807)
  from lanes where lane is not null
)
select lane, least(free, coalesce((
    select min(greatest(next_at, lease_until)) from items
    where cur_state = 0 and items.lane = heads.lane and next_at < free
      and lease_until > cast(floor(extract(epoch from clock_timestamp())) as bigint)
  ), free))
from heads
