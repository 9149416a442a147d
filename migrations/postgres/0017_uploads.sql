-- What was uploaded, by its object's name: `packs/<id>`, or `documents/<sha256>` for a chunk index or a document. The row is there before
-- the object is, and goes after it, so that no object is without one. `state` is `coming` (its bytes are on the way), `here`, `held`
-- (the catalog has listed it, or a notice names it: it stays) or `leaving` (nobody has published it in time: its bytes are being deleted).
-- `promised_ms` is when somebody brought it last, or was told that it is here; `gone_ms` is null until the bytes of what is leaving are gone.
CREATE TABLE upload (
    name TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    length BIGINT NOT NULL,
    promised_ms BIGINT NOT NULL,
    gone_ms BIGINT
);
CREATE INDEX upload_by_promise ON upload (promised_ms) WHERE state <> 'held';

-- What was there before there was this table stays.
INSERT INTO upload (name, state, length, promised_ms) SELECT 'packs/' || id, 'held', length, stored_ms FROM pack;
INSERT INTO upload (name, state, length, promised_ms)
    SELECT 'documents/' || encode(sha256, 'hex'), 'held', length, stored_ms FROM document;

-- In which packs the chunks of an index lie.
CREATE TABLE index_pack (
    index_sha256 BYTEA NOT NULL REFERENCES document (sha256),
    pack TEXT NOT NULL REFERENCES pack (id),
    PRIMARY KEY (index_sha256, pack)
);
CREATE INDEX index_pack_by_pack ON index_pack (pack);
CREATE INDEX chunk_by_pack ON chunk (pack);
