-- All times are Unix milliseconds, all lengths bytes, all *_sha256 32 bytes. `principal` is the path of an identity's
-- URI, as in `hdo/riverside/operator/kim`. A repository is `catalog` or `approvals/<hdo>`.

CREATE TABLE hdo (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

-- How much a hospital's devices may fetch at once, and when, as its operators say: a JSON document.
CREATE TABLE transfer_limits (
    hdo TEXT NOT NULL PRIMARY KEY REFERENCES hdo (id),
    timetable TEXT NOT NULL
);

-- `hdo` is null for the manufacturer's own.
CREATE TABLE operator (
    principal TEXT NOT NULL PRIMARY KEY,
    hdo TEXT REFERENCES hdo (id),
    name TEXT NOT NULL,
    joined_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
CREATE INDEX operator_by_hdo ON operator (hdo);

-- One-time secrets, kept as their hash only. `kind` is `mdm`, `hdo`, `operator` or `device`; `name` binds the operator's
-- name or the device's id where the token names one.
CREATE TABLE token (
    secret_sha256 BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    hdo TEXT REFERENCES hdo (id),
    name TEXT,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    spent_ms BIGINT,
    spent_by TEXT
);

CREATE TABLE certificate (
    serial BLOB NOT NULL PRIMARY KEY,
    principal TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL,
    issued_ms BIGINT NOT NULL,
    not_after_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
CREATE INDEX certificate_by_principal ON certificate (principal);

-- `state` is `imported`, `pending`, `active`, `revoked` or `decommissioned`. `said` is the last check-in as it came (protobuf, believed);
-- `proven_*` the last signed report,
-- `proven_manifest` what runs by it, where the hospital's roster has its key; `said_manifest` what runs by the check-in; `runs_manifest` the former, else
-- the latter. `reports_through`: every report up to that number is stored.
CREATE TABLE device (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    id TEXT NOT NULL,
    product TEXT NOT NULL,
    hardware_id TEXT NOT NULL,
    ward TEXT NOT NULL,
    serial TEXT NOT NULL,
    udi TEXT NOT NULL,
    labels TEXT NOT NULL,
    state TEXT NOT NULL,
    fingerprint BLOB,
    report_key BLOB,
    imported_ms BIGINT NOT NULL,
    enrolled_ms BIGINT,
    confirmed_ms BIGINT,
    revoked_ms BIGINT,
    last_seen_ms BIGINT,
    said BLOB,
    proven_payload BLOB,
    proven_signature BLOB,
    proven_manifest BLOB,
    said_manifest BLOB,
    runs_manifest BLOB,
    reports_through BIGINT NOT NULL,
    PRIMARY KEY (hdo, id)
);
CREATE INDEX device_by_product ON device (hdo, product);
CREATE INDEX device_by_running ON device (hdo, runs_manifest, id, state, proven_manifest);

-- Devices of the hospital's signed rosters, with the keys whose reports gates count and the wards that they stand in. `roster` is the roster's file, by the
-- name that it has in `target_file`; what is there already is not read again.
CREATE TABLE roster_device (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    device TEXT NOT NULL,
    report_key BLOB NOT NULL,
    ward TEXT NOT NULL,
    roster TEXT NOT NULL,
    PRIMARY KEY (hdo, device)
);
CREATE INDEX roster_device_by_ward ON roster_device (hdo, ward);

-- `N.root.json`, `timestamp.json`, `N.snapshot.json`, `N.targets.json`, as the bytes that were signed.
CREATE TABLE repo_file (
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    content BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (repository, name)
);

-- Targets metadata that a device says it verified and that are not those that were published here under that version: its
-- last such word on each repository. `published_sha256` is null where that version was never published here. `proven` is
-- whether the device signed it. `healed_ms` is when it was back on what was published.
CREATE TABLE fork (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    repository TEXT NOT NULL,
    version BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    published_sha256 BLOB,
    proven BOOLEAN NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    healed_ms BIGINT,
    PRIMARY KEY (hdo, device, repository),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);
CREATE INDEX fork_by_repository ON fork (repository);

-- `name` is the consistent-snapshot name, `dir/<sha256>.<file>`. `readers` is `devices`, `operators` (who read everything) or,
-- as in `part/0110`, the devices that are in a part by the SHA-256 of their ids.
CREATE TABLE target_file (
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    readers TEXT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (repository, name)
);

-- `role` is `timestamp` or `snapshot`; `turn` is `present`, or `next` for the key that takes its place once a root names it;
-- `sealed` is PKCS#8, encrypted under the seal key in the data directory.
CREATE TABLE online_key (
    repository TEXT NOT NULL,
    role TEXT NOT NULL,
    turn TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (repository, role, turn)
);

-- What the catalog lists; `path` is the manifest's path in it, `status` what the catalog says of it.
CREATE TABLE bundle (
    product TEXT NOT NULL,
    release BIGINT NOT NULL,
    version TEXT NOT NULL,
    path TEXT NOT NULL,
    manifest_sha256 BLOB NOT NULL,
    status TEXT NOT NULL,
    payload_length BIGINT NOT NULL,
    published_ms BIGINT NOT NULL,
    PRIMARY KEY (product, release)
);
CREATE INDEX bundle_by_manifest ON bundle (manifest_sha256);

-- The payloads of these bundles.
CREATE TABLE payload (
    product TEXT NOT NULL,
    release BIGINT NOT NULL,
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    length BIGINT NOT NULL,
    index_sha256 BLOB NOT NULL,
    PRIMARY KEY (product, release, name),
    FOREIGN KEY (product, release) REFERENCES bundle (product, release)
);
CREATE INDEX payload_by_sha256 ON payload (sha256);

CREATE TABLE pack (
    id TEXT NOT NULL PRIMARY KEY,
    length BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL
);

CREATE TABLE chunk (
    sha256 BLOB NOT NULL PRIMARY KEY,
    pack TEXT NOT NULL REFERENCES pack (id),
    pack_offset BIGINT NOT NULL,
    stored_length BIGINT NOT NULL,
    raw_length BIGINT NOT NULL
);

-- Chunk indexes and documents; `kind` is `index` or `document`. The bytes are a blob.
CREATE TABLE document (
    sha256 BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    length BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL
);

-- How one payload is made from another, by their SHA-256; `old_sha256` may be that of no bytes. `state` is `wanted`, `made`,
-- `useless` (no smaller than the chunks), `failed`, `crowded` (it was made, and there was no room for it) or `dropped` (its
-- objects are yet to be deleted). `asked_by` is the device that asked for it; null where a publication wants it. `tries` are
-- those that were begun; `head` and `chunk_bytes` (u32, little endian, one a frame) are null unless it is made; `format` is
-- what its bytes mean, a number of the program's; `length` is that of everything behind the head.
CREATE TABLE delta (
    old_sha256 BLOB NOT NULL,
    new_sha256 BLOB NOT NULL,
    state TEXT NOT NULL,
    asked_by TEXT,
    format BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    problem TEXT,
    head BLOB,
    head_sha256 BLOB,
    chunk_bytes BLOB,
    length BIGINT NOT NULL,
    wanted_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    PRIMARY KEY (old_sha256, new_sha256)
);
CREATE INDEX delta_by_new ON delta (new_sha256);
CREATE INDEX delta_by_state ON delta (state);

-- A delta's regions in order, each a blob of its own.
CREATE TABLE delta_region (
    old_sha256 BLOB NOT NULL,
    new_sha256 BLOB NOT NULL,
    ordinal BIGINT NOT NULL,
    object TEXT NOT NULL,
    length BIGINT NOT NULL,
    PRIMARY KEY (old_sha256, new_sha256, ordinal),
    FOREIGN KEY (old_sha256, new_sha256) REFERENCES delta (old_sha256, new_sha256)
);

-- Work that one server of all does at a time: whose it is, until when unless it says so again.
CREATE TABLE claim (
    job TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE plan (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    sha256 BLOB NOT NULL,
    content BLOB NOT NULL,
    stored_by TEXT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, sha256)
);

-- `id` is the approval's. `state` is `running`, `paused`, `aborted`, `superseded`, `expired` or `complete`. `wave` is the
-- highest open one, counted from 0; `unsigned_waves` those that wait for the hospital's signature, a bit for each, the lowest
-- for the first; `attempt_timeout_secs` is how long a device that has begun may say nothing, `max_attempts` how often it tries. `plan_sha256` is the plan that was
-- approved.
CREATE TABLE rollout (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    product TEXT NOT NULL,
    version TEXT NOT NULL,
    release BIGINT NOT NULL,
    manifest_sha256 BLOB NOT NULL,
    approval_sha256 BLOB NOT NULL,
    wave BIGINT NOT NULL,
    waves BIGINT NOT NULL,
    wave_opened_ms BIGINT NOT NULL,
    unsigned_waves BIGINT NOT NULL,
    attempt_timeout_secs BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    plan_sha256 BLOB NOT NULL,
    ticket TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, id)
);
CREATE INDEX rollout_by_state ON rollout (state);
CREATE INDEX rollout_by_bundle ON rollout (hdo, product, release);

-- What a rollout installs, in order.
CREATE TABLE rollout_step (
    hdo TEXT NOT NULL,
    rollout TEXT NOT NULL,
    step BIGINT NOT NULL,
    product TEXT NOT NULL,
    release BIGINT NOT NULL,
    manifest_sha256 BLOB NOT NULL,
    PRIMARY KEY (hdo, rollout, step),
    FOREIGN KEY (hdo, rollout) REFERENCES rollout (hdo, id)
);
CREATE INDEX rollout_step_by_release ON rollout_step (product, release);

-- What was signed of a wave, and how many of its devices count as what; who is in no count is awaited. The counts are written
-- with the devices' rows. `last_confirmed_ms` is null until one is confirmed.
CREATE TABLE rollout_wave (
    hdo TEXT NOT NULL,
    rollout TEXT NOT NULL,
    wave BIGINT NOT NULL,
    needs_server BOOLEAN NOT NULL,
    needs_signature BOOLEAN NOT NULL,
    min_confirmed_percent BIGINT NOT NULL,
    max_failures BIGINT NOT NULL,
    max_failed_percent BIGINT NOT NULL,
    soak_secs BIGINT NOT NULL,
    devices BIGINT NOT NULL,
    begun BIGINT NOT NULL,
    confirmed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    retrying BIGINT NOT NULL,
    timed_out BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    forgiven BIGINT NOT NULL,
    again BIGINT NOT NULL,
    last_confirmed_ms BIGINT,
    PRIMARY KEY (hdo, rollout, wave),
    FOREIGN KEY (hdo, rollout) REFERENCES rollout (hdo, id)
);

-- `standing` is what a device is counted as in its wave, `turns_ms` when time alone makes it count as something else, null
-- where it does not or has; `forgiven`, that a person lets the rollout go on without it. `tries` are those that have failed of
-- the step that it is at; `barred`, that it is offered no other.
-- `transfer` is how the bytes came, as the device said it at its last check-in (protobuf, believed).
CREATE TABLE rollout_device (
    hdo TEXT NOT NULL,
    rollout TEXT NOT NULL,
    device TEXT NOT NULL,
    wave BIGINT NOT NULL,
    phase TEXT NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    changed_ms BIGINT NOT NULL,
    slots_end_ms BIGINT NOT NULL,
    standing TEXT NOT NULL,
    forgiven BOOLEAN NOT NULL,
    turns_ms BIGINT,
    tries BIGINT NOT NULL,
    barred BOOLEAN NOT NULL,
    touched_ms BIGINT NOT NULL,
    fetched_bytes BIGINT NOT NULL,
    total_bytes BIGINT NOT NULL,
    transfer BLOB,
    PRIMARY KEY (hdo, rollout, device),
    FOREIGN KEY (hdo, rollout) REFERENCES rollout (hdo, id)
);
CREATE INDEX rollout_device_by_device ON rollout_device (hdo, device);
CREATE INDEX rollout_device_by_turn ON rollout_device (hdo, rollout, turns_ms) WHERE turns_ms IS NOT NULL;
CREATE INDEX rollout_device_by_touch ON rollout_device (hdo, rollout, touched_ms);
CREATE INDEX rollout_device_by_standing ON rollout_device (hdo, rollout, wave, standing, changed_ms);

-- What a hospital has said of a bundle that it does not install, or not yet. `choice` is `declined` or `deferred`, `review` a
-- date as in `2027-01-15`; `plan_sha256` is null where it is about the bundle as such.
CREATE TABLE decision (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    number BIGINT NOT NULL,
    product TEXT NOT NULL,
    release BIGINT NOT NULL,
    plan_sha256 BLOB,
    choice TEXT NOT NULL,
    reason TEXT NOT NULL,
    compensating TEXT NOT NULL,
    review TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_ms BIGINT NOT NULL,
    signed BLOB,
    PRIMARY KEY (hdo, number),
    FOREIGN KEY (product, release) REFERENCES bundle (product, release)
);
CREATE INDEX decision_by_bundle ON decision (hdo, product, release);

-- What the manufacturer suggests to a hospital, of each bundle the latest; `suggestion` is a JSON document. One `id` may have
-- gone to several.
CREATE TABLE proposal (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    product TEXT NOT NULL,
    release BIGINT NOT NULL,
    id TEXT NOT NULL,
    suggestion BLOB NOT NULL,
    note TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, product, release),
    FOREIGN KEY (product, release) REFERENCES bundle (product, release)
);

-- What each signer of an approval states, as signed by the same key.
CREATE TABLE statement (
    hdo TEXT NOT NULL,
    approval TEXT NOT NULL,
    key BLOB NOT NULL,
    content BLOB NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, approval, key),
    FOREIGN KEY (hdo, approval) REFERENCES rollout (hdo, id)
);

-- Of each approval the newest order or lift; `content` is the envelope as its approvers signed it, `counts` whether those
-- are approvers still.
CREATE TABLE stop_order (
    hdo TEXT NOT NULL,
    approval TEXT NOT NULL,
    counter BIGINT NOT NULL,
    stopped BOOLEAN NOT NULL,
    counts BOOLEAN NOT NULL,
    content BLOB NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, approval),
    FOREIGN KEY (hdo, approval) REFERENCES rollout (hdo, id)
);

-- The hospital's latest signed word that a device was checked after an update; `content` is the envelope as it was signed.
CREATE TABLE clearance (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    approval TEXT NOT NULL,
    content BLOB NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, device),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);

-- Devices that are down with the server's leave, or about to be: one each. `cap` is how many of the ward that rollout lets be
-- down at once, `silence_secs` how long the device may be silent once it has begun; `begun_ms` is null before that,
-- `returned_ms` unless a person said that it is back in service. When a lease counts no more is for the rules to say.
CREATE TABLE lease (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    ward TEXT NOT NULL,
    rollout TEXT NOT NULL,
    cap BIGINT NOT NULL,
    silence_secs BIGINT NOT NULL,
    taken_ms BIGINT NOT NULL,
    begun_ms BIGINT,
    heard_ms BIGINT NOT NULL,
    returned_ms BIGINT,
    PRIMARY KEY (hdo, device),
    FOREIGN KEY (hdo, rollout) REFERENCES rollout (hdo, id)
);
CREATE INDEX lease_by_ward ON lease (hdo, ward);
CREATE INDEX lease_by_rollout ON lease (hdo, rollout);

-- A device that enrols anew has a new report key and counts from 1 again.
CREATE TABLE report (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    report_key BLOB NOT NULL,
    number BIGINT NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, device, report_key, number),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);

-- `concerns` is who may read the payload: `everybody`, `manufacturer` or `hdo/<id>`. The payload is null once it is kept no
-- longer; its digest, and the root of the tree that ends with it, stay.
CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    concerns TEXT NOT NULL,
    payload BLOB,
    payload_sha256 BLOB NOT NULL,
    root BLOB NOT NULL
);
CREATE INDEX audit_kept ON audit (at_ms) WHERE payload IS NOT NULL;
