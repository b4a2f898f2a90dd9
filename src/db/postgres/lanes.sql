(with recursive found(lane) as (
  select min(lane) from items where cur_state = 0
  union all
  select (select min(items.lane) from items where cur_state = 0 and items.lane > found.lane)
  from found where found.lane is not null
)
select lane from found where lane is not null)
