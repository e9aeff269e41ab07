-- Version 2: what the evaluators of rules, notifications and SLOs keep. See ../FORMAT.md.
CREATE TABLE state (
    tenant INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    value  BLOB    NOT NULL,
    PRIMARY KEY (tenant, kind, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE history (
    tenant INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    id     TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    value  TEXT    NOT NULL,
    PRIMARY KEY (tenant, kind, id)
) STRICT;
CREATE INDEX history_time ON history (tenant, kind, at);

CREATE TABLE leases (
    name       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
