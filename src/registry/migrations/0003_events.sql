-- Events by a number that is never used twice, so that who follows them knows
-- where they were. Nothing wrote the old table.
DROP TABLE events;
CREATE TABLE events (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    service   TEXT    NOT NULL,
    component TEXT    NOT NULL,
    unit      TEXT    NOT NULL,
    desired   TEXT    NOT NULL,
    previous  TEXT    NOT NULL,
    observed  TEXT    NOT NULL,
    drift     TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    mend      TEXT    NOT NULL,
    count     INTEGER NOT NULL
) STRICT;
CREATE INDEX events_component ON events (service, component, id);
CREATE INDEX events_time ON events (at_ms);

-- What was last seen of each component, so that the next agent knows what
-- happened while there was none. The row without a service is the node, and
-- its invocation the boot.
CREATE TABLE observations (
    service    TEXT    NOT NULL,
    component  TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    invocation TEXT    NOT NULL,
    restarts   INTEGER NOT NULL,
    flapping   INTEGER NOT NULL,
    PRIMARY KEY (service, component)
) STRICT;
