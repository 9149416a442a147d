-- What manufacturer and hospitals have written to one another, as it was signed. `sender` is `manufacturer` or `hospital`,
-- `kind` what the letter says it is, `notice_id` the SHA-256 of a notice's content, the same at all hospitals. Where an
-- answer is due, `answer_by_ms` says by when, and `repeat_ms` when the letter is repeated next if there is none by then.
-- `answer_sha256` is the answering letter's; null where the answer is on an operator's certificate alone.
CREATE TABLE letter (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    sender TEXT NOT NULL,
    number BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    content BLOB NOT NULL,
    kind TEXT NOT NULL,
    product TEXT NOT NULL,
    fixed_by BIGINT,
    notice_id BLOB,
    stored_ms BIGINT NOT NULL,
    answer_by_ms BIGINT,
    delivered_ms BIGINT,
    delivered_by TEXT,
    read_ms BIGINT,
    read_by TEXT,
    answered_ms BIGINT,
    answered_by TEXT,
    answer TEXT,
    answer_sha256 BLOB,
    repeats BIGINT NOT NULL,
    repeat_ms BIGINT,
    PRIMARY KEY (hdo, sender, number)
);
CREATE INDEX letter_by_notice ON letter (notice_id, hdo) WHERE notice_id IS NOT NULL;
CREATE INDEX letter_unread ON letter (sender, hdo) WHERE answer_by_ms IS NOT NULL AND read_ms IS NULL;
CREATE INDEX letter_by_repeat ON letter (repeat_ms) WHERE repeat_ms IS NOT NULL;

-- Where a hospital wants to be told. `further` contacts are told only of what nobody answered in time. The secret is made
-- of the server's seal, these columns and `salt`, and is stored nowhere.
CREATE TABLE contact (
    hdo TEXT NOT NULL REFERENCES hdo (id),
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    further BOOLEAN NOT NULL,
    salt BLOB NOT NULL,
    added_by TEXT NOT NULL,
    added_ms BIGINT NOT NULL,
    PRIMARY KEY (hdo, name)
);

-- What is to be told to whom: the manufacturer's letter, and which repetition of it (0: the first). `due_ms` is null once it
-- is over, well or not.
CREATE TABLE delivery (
    hdo TEXT NOT NULL,
    number BIGINT NOT NULL,
    repetition BIGINT NOT NULL,
    contact TEXT NOT NULL,
    due_ms BIGINT,
    tries BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    accepted BOOLEAN NOT NULL,
    tried_ms BIGINT,
    PRIMARY KEY (hdo, number, repetition, contact),
    FOREIGN KEY (hdo, contact) REFERENCES contact (hdo, name)
);
CREATE INDEX delivery_by_due ON delivery (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX delivery_by_contact ON delivery (hdo, contact);
