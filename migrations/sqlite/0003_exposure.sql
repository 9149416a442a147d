-- What bundles' documents say of their components, and of vulnerabilities. All of it is made from the documents, which the
-- catalog pins, and made again where the row in `indexed_bundle` is missing or of another edition.

-- A bundle whose documents were read. `listed`: it has an SBOM, and that could be read. `itself` is how its SBOM names the
-- bundle, `serials` the numbers of its SBOMs, both JSON; `problem` what could not be read, for people.
CREATE TABLE indexed_bundle (
    manifest_sha256 BLOB NOT NULL PRIMARY KEY,
    edition BIGINT NOT NULL,
    listed BOOLEAN NOT NULL,
    itself TEXT,
    serials TEXT NOT NULL,
    components BIGINT NOT NULL,
    statements BIGINT NOT NULL,
    problem TEXT,
    indexed_ms BIGINT NOT NULL
);

-- `package` is a package URL without version, qualifiers and subpath; `folded` the name in lower case.
CREATE TABLE bundle_component (
    manifest_sha256 BLOB NOT NULL REFERENCES indexed_bundle (manifest_sha256),
    ordinal BIGINT NOT NULL,
    package TEXT,
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    version TEXT NOT NULL,
    reference TEXT,
    PRIMARY KEY (manifest_sha256, ordinal)
);
CREATE INDEX bundle_component_by_package ON bundle_component (package) WHERE package IS NOT NULL;
CREATE INDEX bundle_component_by_name ON bundle_component (folded);
CREATE INDEX bundle_component_by_reference ON bundle_component (reference) WHERE reference IS NOT NULL;

-- Documents of statements that were published beside the bundles; `path` is their path in the catalog, `number` counts those of
-- a product, `after_release` is its newest release at that time. `status` is `current` or `withdrawn`.
CREATE TABLE vex_document (
    path TEXT NOT NULL PRIMARY KEY,
    product TEXT NOT NULL,
    id TEXT NOT NULL,
    number BIGINT NOT NULL,
    after_release BIGINT NOT NULL,
    format TEXT NOT NULL,
    status TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    edition BIGINT NOT NULL,
    statements BIGINT NOT NULL,
    published_ms BIGINT NOT NULL
);

-- Statements in force: of bundles' own documents, where `path` is the manifest's and `number` is 0, and of those documents.
-- `content` is JSON.
CREATE TABLE vex_statement (
    path TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    product TEXT NOT NULL,
    document TEXT NOT NULL,
    after_release BIGINT NOT NULL,
    number BIGINT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (path, ordinal)
);

-- By what names their vulnerabilities go, in upper case.
CREATE TABLE vex_name (
    vulnerability TEXT NOT NULL,
    path TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    PRIMARY KEY (vulnerability, path, ordinal),
    FOREIGN KEY (path, ordinal) REFERENCES vex_statement (path, ordinal)
);
CREATE INDEX vex_name_by_statement ON vex_name (path, ordinal);
