-- Version 1. See ../FORMAT.md. u64 values are kept as the i64 of the same bits: never compare them in SQL.
CREATE TABLE parts (
    id                BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant            INTEGER NOT NULL,
    signal            INTEGER NOT NULL CHECK (signal BETWEEN 1 AND 3),
    level             INTEGER NOT NULL,
    first_time        INTEGER NOT NULL,
    last_time         INTEGER NOT NULL CHECK (last_time >= first_time),
    first_position    INTEGER NOT NULL,
    last_position     INTEGER NOT NULL,
    row_count         INTEGER NOT NULL CHECK (row_count > 0),
    files             TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    removed_at        INTEGER,
    quarantined_at    INTEGER,
    quarantine_reason TEXT,
    CHECK (removed_at IS NULL OR quarantined_at IS NULL)
) WITHOUT ROWID, STRICT;

CREATE TABLE wal_positions (
    signal   INTEGER NOT NULL PRIMARY KEY CHECK (signal BETWEEN 1 AND 3),
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE publishes (
    token         BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 16),
    signal        INTEGER NOT NULL,
    published_at  INTEGER NOT NULL,
    last_received INTEGER NOT NULL,
    request_keys  BLOB    NOT NULL CHECK (length(request_keys) % 24 = 0)
) STRICT;
CREATE INDEX publishes_last_received ON publishes (last_received);

CREATE TABLE rejections (
    minute  INTEGER NOT NULL,
    tenant  INTEGER NOT NULL,
    signal  INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    service TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    example TEXT    NOT NULL,
    time    INTEGER NOT NULL,
    PRIMARY KEY (minute, tenant, signal, reason, service)
) STRICT;
CREATE INDEX rejections_tenant_time ON rejections (tenant, time);
