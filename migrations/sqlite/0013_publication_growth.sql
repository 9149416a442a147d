-- How many bytes were published into a repository on the last day on which any were; `day` counts from 1970, in UTC.
CREATE TABLE publication_growth (
    repository TEXT NOT NULL PRIMARY KEY,
    day BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
