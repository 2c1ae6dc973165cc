-- Services that are deployed; generation is the accepted one.
CREATE TABLE services (
    name           TEXT    NOT NULL PRIMARY KEY,
    active         INTEGER NOT NULL CHECK (active IN (0, 1)),
    generation     INTEGER NOT NULL,
    deployed_at_ms INTEGER NOT NULL,
    deployed_by    TEXT    NOT NULL,
    FOREIGN KEY (name, generation) REFERENCES generations (service, number)
) STRICT;

-- Every planned or accepted deployment, with all that is needed to do it again.
CREATE TABLE generations (
    service       TEXT    NOT NULL,
    number        INTEGER NOT NULL CHECK (number > 0),
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'accepted')),
    definition    TEXT    NOT NULL,
    file_name     TEXT    NOT NULL,
    deployment    TEXT    NOT NULL,
    files         TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    created_by    TEXT    NOT NULL,
    PRIMARY KEY (service, number)
) STRICT;

-- The journal: what was begun, and how far it came.
CREATE TABLE operations (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    service         TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    from_generation INTEGER NOT NULL,
    to_generation   INTEGER NOT NULL,
    started_at_ms   INTEGER NOT NULL,
    started_by      TEXT    NOT NULL,
    finished_at_ms  INTEGER,
    outcome         TEXT,
    CHECK ((finished_at_ms IS NULL) = (outcome IS NULL))
) STRICT;
-- One operation at a time for a service.
CREATE UNIQUE INDEX operations_unfinished ON operations (service) WHERE finished_at_ms IS NULL;

-- Ports of the node, each leased to one route.
CREATE TABLE leases (
    service   TEXT    NOT NULL,
    component TEXT    NOT NULL,
    route     TEXT    NOT NULL,
    port      INTEGER NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535),
    PRIMARY KEY (service, component, route)
) STRICT;

-- Bearer tokens; only the SHA-256 of the secret is kept.
CREATE TABLE tokens (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    last_used_ms  INTEGER
) STRICT;

-- Who asked for what, and what came of it; refusals too.
CREATE TABLE audit (
    id      INTEGER NOT NULL PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    caller  TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    peer    TEXT    NOT NULL,
    method  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    code    TEXT    NOT NULL,
    message TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_time ON audit (at_ms);

-- What happened to services and components.
CREATE TABLE events (
    id        INTEGER NOT NULL PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    service   TEXT    NOT NULL,
    component TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    detail    TEXT    NOT NULL
) STRICT;
CREATE INDEX events_component_time ON events (service, component, at_ms);
CREATE INDEX events_time ON events (at_ms);
