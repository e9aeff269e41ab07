-- Version 3: the keys of tenants, wrapped with a master key that is not here. See ../FORMAT.md and ../../encryption/FORMAT.md.
CREATE TABLE tenant_keys (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant      INTEGER NOT NULL,
    master      TEXT    NOT NULL,
    wrapped     BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    shredded_at INTEGER,
    CHECK ((shredded_at IS NULL) = (length(wrapped) > 0))
) STRICT;
CREATE UNIQUE INDEX tenant_keys_live ON tenant_keys (tenant) WHERE shredded_at IS NULL;
