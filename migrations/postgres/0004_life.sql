-- What the manufacturer has said last of a product's life: the document that the catalog lists. A row stays when its listing
-- goes: what was said is not taken back.
CREATE TABLE life (
    product TEXT NOT NULL PRIMARY KEY,
    sha256 BYTEA NOT NULL,
    document BYTEA NOT NULL,
    published_ms BIGINT NOT NULL
);

-- Who does what over a product's life, as both sides agree: numbered for each hospital and product. `document` is signed by
-- the manufacturer, `consent` by the hospital; it is null until the hospital has consented.
CREATE TABLE agreement (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    product TEXT NOT NULL,
    number BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    document BYTEA NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_ms BIGINT NOT NULL,
    consent BYTEA,
    consent_by TEXT,
    consent_ms BIGINT,
    PRIMARY KEY (hdo, product, number)
);

-- A hospital's assessments of risk, as they were signed, numbered for each hospital. `group_sha256` names the group of devices,
-- of which the newest assessment counts; `treatment` is `acceptance`, `deferral` or `mitigation`; `expires` is a day,
-- as in 2027-01-15; `settled_ms` is null until that day is over and it was told where no later one stood in its place.
CREATE TABLE risk (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    number BIGINT NOT NULL,
    product TEXT NOT NULL,
    group_sha256 BYTEA NOT NULL,
    treatment TEXT NOT NULL,
    expires TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    document BYTEA NOT NULL,
    signed BOOLEAN NOT NULL,
    assessed_by TEXT NOT NULL,
    assessed_ms BIGINT NOT NULL,
    settled_ms BIGINT,
    PRIMARY KEY (hdo, number)
);
CREATE INDEX risk_by_group ON risk (hdo, product, group_sha256, number);
CREATE INDEX risk_by_expiry ON risk (expires) WHERE settled_ms IS NULL;

-- Devices that were taken out of use for good; all else that is known of them stays.
CREATE TABLE decommission (
    hdo TEXT NOT NULL,
    device TEXT NOT NULL,
    reason TEXT NOT NULL,
    decommissioned_by TEXT NOT NULL,
    decommissioned_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, device),
    FOREIGN KEY (hdo, device) REFERENCES device (hdo, id)
);
