-- Small columns first: a row's state is read without its content. Not strict, so
-- that a row can be put in by hand. "if not exists", because a table that came
-- out of ".dump" has lost its version.
create table if not exists items(
  seq integer primary key,
  notify_id text not null unique,
  cur_state integer not null default 0,
  tried integer not null default 0,
  next_at integer not null,
  create_at integer not null,
  lane integer not null default 0,
  once integer not null default 0,
  epoch integer not null default 0,
  driver text not null,
  endpoint text not null,
  content blob not null,
  response blob
);
create index if not exists items_due on items(lane, next_at) where cur_state = 0;
create index if not exists items_created on items(create_at);
