create table if not exists items (
  notify_id varbinary(512) not null primary key,
  driver varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
  endpoint text character set utf8mb4 collate utf8mb4_bin not null,
  content longblob not null,
  create_at bigint not null,
  next_at bigint not null,
  tried int unsigned not null default 0,
  cur_state tinyint not null default 0,
  response longblob null,
  lane smallint unsigned not null default 0,
  once tinyint not null default 0,
  epoch int unsigned not null default 0,
  lease_token bigint not null default 0,
  lease_until bigint not null default 0,
  key items_due (cur_state, lane, next_at),
  key items_created (create_at)
) engine = InnoDB
