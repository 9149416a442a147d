-- The last place in the order of changes and the last number that security events were given: neither is given again after the event
-- that had it was deleted. One row. A way out may have got further than what is left of the events.
CREATE TABLE event_last (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL,
    number BIGINT NOT NULL
);
INSERT INTO event_last (one, seq, number)
    SELECT 1, (SELECT COALESCE(MAX(seq), 0) FROM (SELECT seq FROM event UNION ALL SELECT seq FROM event_cursor) AS given),
           (SELECT COALESCE(MAX(number), 0) FROM event);
