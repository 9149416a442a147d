-- How many entries of the audit record somebody has written on the last day on which they wrote one: `writer` is an identity as the
-- record names it, `hdo/<id>` for all operators of a hospital, or `manufacturer`; `day` counts from 1970, in UTC.
CREATE TABLE audit_writer (
    writer TEXT NOT NULL PRIMARY KEY,
    day BIGINT NOT NULL,
    entries BIGINT NOT NULL
);

-- By which what one device has seen is kept within its bound.
CREATE INDEX event_by_subject ON event (hdo, subject, severity, seq);
