-- Rows written by hand may hold anything. What the indexes would never lead to is
-- put where they do: a lane that is no lane, a time that is no number. Text and
-- blobs sort after every number, so each statement is a few steps in an index.
update items set lane = 0 where cur_state = 0 and lane in (
  with recursive lanes(lane) as (
    select min(lane) from items where cur_state = 0
    union all
    select (select min(items.lane) from items where cur_state = 0 and items.lane > lanes.lane)
    from lanes where lanes.lane is not null
  )
  select lane from lanes where typeof(lane) <> 'integer' or lane not between 0 and 65535
);
update items set next_at = 0
where cur_state = 0 and lane = 0 and next_at > 9223372036854775807 and typeof(next_at) <> 'real';
update items set create_at = 0
where create_at > 9223372036854775807 and typeof(create_at) <> 'real';
