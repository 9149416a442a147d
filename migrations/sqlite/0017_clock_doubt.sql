-- For how many seconds yet, told by a clock that nobody sets, servers must run beside the clock of the day before that is believed
-- where texts of the record are deleted by it: it has leapt ahead. One row.
CREATE TABLE clock_doubt (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    secs BIGINT NOT NULL
);
INSERT INTO clock_doubt (one, secs) VALUES (1, 0);
