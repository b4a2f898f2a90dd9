create table if not exists items (
  notify_id text collate "C" not null primary key,
  driver varchar(255) not null,
  endpoint text not null,
  content bytea not null,
  create_at bigint not null,
  next_at bigint not null,
  tried bigint not null default 0,
  cur_state smallint not null default 0,
  response bytea,
  lane integer not null default 0,
  once smallint not null default 0,
  epoch bigint not null default 0,
  lease_token bigint not null default 0,
  lease_until bigint not null default 0
)
