-- The perfect subtrees of the audit record's tree, each under the number that suture-core's `audit::Place` gives it. None ever
-- changes.
CREATE TABLE audit_node (
    number BIGINT NOT NULL PRIMARY KEY,
    sha256 BYTEA NOT NULL
);

-- The keys that sign its checkpoints, one after another. `change` is the note by which the key before names this one. Only the
-- newest has its private half, sealed as those of `online_key` are.
CREATE TABLE audit_key (
    number BIGINT NOT NULL PRIMARY KEY,
    public_key BYTEA NOT NULL,
    sealed TEXT,
    change TEXT,
    created_ms BIGINT NOT NULL
);
