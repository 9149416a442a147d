-- Security events. Equal ones within an hour are one row with a count; each time a row changes it gets a new `seq`, the
-- highest of all, so that whoever has read up to a number finds what is new or has grown behind it. `number` stays.
-- `hdo` is empty where the event concerns the server itself or the manufacturer.
CREATE TABLE event (
    number BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hdo TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity BIGINT NOT NULL,
    observer TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    what_sha256 BLOB NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    count BIGINT NOT NULL
);
CREATE UNIQUE INDEX event_by_seq ON event (seq);
CREATE INDEX event_by_hdo ON event (hdo, seq);
CREATE INDEX event_by_what ON event (what_sha256, number);
CREATE INDEX event_by_severity ON event (hdo, severity, seq);

-- How many events of a hospital, or with an empty `hdo` of the server's own, were dropped because there were too many.
CREATE TABLE event_dropped (
    hdo TEXT NOT NULL PRIMARY KEY,
    dropped BIGINT NOT NULL
);

-- How far each way out of the server has got: the last `seq` that has been delivered.
CREATE TABLE event_cursor (
    way TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);

-- Up to which number the events are here that a device has signed, of the report key that it enrolled with.
CREATE TABLE event_through (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    report_key BLOB NOT NULL,
    through BIGINT NOT NULL,
    PRIMARY KEY (hdo, device),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);

-- After what silence a hospital's devices count as lost, where it has said so.
CREATE TABLE lost_after (
    hdo TEXT NOT NULL PRIMARY KEY REFERENCES hdo (id),
    secs BIGINT NOT NULL
);

-- Devices that count as lost, and when they were heard last.
CREATE TABLE device_lost (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, device),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);
