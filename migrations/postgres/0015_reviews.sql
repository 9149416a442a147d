-- `settled_ms` is null until the day of the review is over and it was told that nobody has looked at the decision again, where nobody had.
ALTER TABLE decision ADD COLUMN settled_ms BIGINT;
CREATE INDEX decision_by_review ON decision (review) WHERE settled_ms IS NULL;
