//! Bounds that more than one place holds to; one that a single place holds to stands there. Sizes are in bytes.
//!
//! Each is enforced while reading, before memory or disk is spent on what exceeds it.

use jiff::SignedDuration;

/// An id: hospital, device, product, ward, …
pub const MAX_ID_BYTES: usize = 64;
/// A version string.
pub const MAX_VERSION_BYTES: usize = 64;
/// Free text that a person writes: reason, ticket, name.
pub const MAX_TEXT_BYTES: usize = 1_000;

/// `root.json`.
pub const MAX_ROOT_BYTES: u64 = 512 << 10;
/// `timestamp.json`.
pub const MAX_TIMESTAMP_BYTES: u64 = 16 << 10;
/// `snapshot.json`.
pub const MAX_SNAPSHOT_BYTES: u64 = 64 << 10;
/// `targets.json`.
pub const MAX_TARGETS_BYTES: u64 = 8 << 20;
/// Root versions that one refresh steps through.
pub const MAX_ROOT_STEPS: u32 = 256;
/// A target's path, a pattern of paths, and a delegated role's name.
pub const MAX_TARGET_PATH_BYTES: usize = 512;
/// Roles that one targets file delegates to.
pub const MAX_DELEGATIONS: usize = 256;
/// Path patterns, or hash prefixes, of one delegation.
pub const MAX_DELEGATION_PATHS: usize = 256;
/// Delegated roles that are asked for one target.
pub const MAX_DELEGATED_ROLES: usize = 32;
/// How many versions of the targets metadata a hospital's program follows back from one that it trusts.
pub const MAX_DESCENT: u64 = 4_096;
/// Nesting of JSON.
pub const MAX_JSON_DEPTH: u32 = 64;
/// Signatures on one metadata file, keys in one root or in one file's delegations.
pub const MAX_SIGNATURES: usize = 64;

/// A manifest.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// The head of an approval: what all its devices read.
pub const MAX_APPROVAL_BYTES: u64 = 64 << 10;
/// A shard of an approval's slots: what one device reads of all devices' slots.
pub const MAX_SLOTS_BYTES: u64 = 64 << 10;
/// The waves of an approval that are opened by signature: what devices read of it.
pub const MAX_GATES_BYTES: u64 = 16 << 10;
/// The note on one such wave, for people.
pub const MAX_GATE_NOTE_BYTES: u64 = 8 << 10;
/// What one signer of an approval states.
pub const MAX_STATEMENT_BYTES: u64 = 8 << 10;
/// The operators' document of an approval.
pub const MAX_OPERATOR_DOCUMENT_BYTES: u64 = 2 << 20;
/// The register of what devices do not read.
pub const MAX_REGISTER_BYTES: u64 = 2 << 20;
/// A roster.
pub const MAX_ROSTER_BYTES: u64 = 1 << 20;
/// A ward's calendar.
pub const MAX_CALENDAR_BYTES: u64 = 64 << 10;
/// A stop order or a lift.
pub const MAX_STOP_BYTES: u64 = 16 << 10;
/// Where the server is found, as the hospital signs it.
pub const MAX_SERVICE_BYTES: u64 = 64 << 10;
/// Addresses in it; a device tries one after the other.
pub const MAX_SERVICE_ADDRESSES: usize = 4;
/// Certificate authorities in it.
pub const MAX_SERVICE_AUTHORITIES: usize = 4;
/// A server's address, `https://host:port`.
pub const MAX_ADDRESS_BYTES: usize = 255;
/// A certificate, DER.
pub const MAX_CERTIFICATE_BYTES: usize = 4_096;
/// The highest counter of a stop order or a lift: it is the same number in every reader of JSON.
pub const MAX_STOP_COUNTER: u64 = (1 << 53) - 1;
/// How far ahead of the time in Unix seconds the counter of a lift may be: 10 minutes, as far as a clock goes wrong.
pub const MAX_LIFT_AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// Stop orders and lifts that a device keeps: of each approval the newest.
pub const MAX_KEPT_STOPS: usize = 256;
/// Stop orders that one answer to a device brings: one for each approval that names it.
pub const MAX_STOPS_PER_ANSWER: usize = 64;
/// A publication on its way from signer to signer; what it holds must fit into one message to the server besides.
pub const MAX_ENVELOPE_BYTES: u64 = 32 << 20;
/// Files in such a publication.
pub const MAX_ENVELOPE_FILES: usize = 4_096;
/// A chunk index: 40 bytes a chunk, so payloads up to about 100 GiB.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;
/// A document that travels with a bundle (release notes, SBOM, …).
pub const MAX_DOCUMENT_BYTES: u64 = 32 << 20;
/// Payloads in a bundle.
pub const MAX_PAYLOADS: usize = 8;
/// Updates to a bundle that its manufacturer warns of.
pub const MAX_RISKS: usize = 64;
/// What such a warning says: with the link it fits into a reason that a device or a plan gives.
pub const MAX_RISK_TEXT_BYTES: usize = 400;
/// A link in it.
pub const MAX_URL_BYTES: usize = 300;
/// Releases between what devices run and what is planned, through which a way is looked for.
pub const MAX_RELEASES_BETWEEN: usize = 512;
/// Documents in a bundle.
pub const MAX_DOCUMENTS: usize = 32;
/// JSON values in an SBOM or VEX document: a million, some 20,000 components as tools describe them.
pub const MAX_FOREIGN_VALUES: usize = 1_000_000;
/// Components that one SBOM lists.
pub const MAX_COMPONENTS: usize = 50_000;
/// Dependencies that one SBOM lists.
pub const MAX_DEPENDENCIES: usize = 200_000;
/// Statements in one VEX document.
pub const MAX_STATEMENTS: usize = 50_000;
/// How often all statements of one VEX document together name a product.
pub const MAX_STATED_PRODUCTS: usize = 25_000;
/// Other names of a vulnerability.
pub const MAX_ALIASES: usize = 64;
/// What all statements of one document together say for people: 64 MiB.
pub const MAX_ALL_STATED_BYTES: usize = 64 << 20;
/// What a statement says for people, cut where a document says more: 8 KiB.
pub const MAX_STATED_BYTES: usize = 8 << 10;
/// A licence expression: 8 KiB.
pub const MAX_LICENCE_BYTES: usize = 8 << 10;
/// A package URL: 2 KiB.
pub const MAX_PURL_BYTES: usize = 2 << 10;
/// The name of a vulnerability.
pub const MAX_VULNERABILITY_BYTES: usize = 128;

/// Chunks: FastCDC's least, average and greatest size.
pub const CHUNK_MIN_BYTES: usize = 16 << 10;
/// See [`CHUNK_MIN_BYTES`].
pub const CHUNK_AVG_BYTES: usize = 64 << 10;
/// See [`CHUNK_MIN_BYTES`].
pub const CHUNK_MAX_BYTES: usize = 256 << 10;
/// What a chunk may take in stored form: compression that does not pay is not used, so never more than raw.
pub const CHUNK_MAX_STORED_BYTES: usize = CHUNK_MAX_BYTES;
/// A pack: chunks in one object.
pub const PACK_BYTES: usize = 64 << 20;
/// What is read of a pack at once: 1 MiB. Less costs more in changes of thread, and more is held longer by a stalled stream.
pub const BLOCK_BYTES: usize = 1 << 20;
/// What the server keeps of packs in memory for whoever fetches next: 64 MiB.
pub const BLOCK_CACHE_BYTES: usize = 64 << 20;
/// What the server keeps of where the chunks of indexes lie: 256 MiB, five of the largest indexes.
pub const LOCATED_BYTES: usize = 256 << 20;
/// What the server keeps of indexes told by others: 64 MiB.
pub const TOLD_BYTES: usize = 64 << 20;
/// Indexes that are being read at a time, together: 64 MiB. While it is read, one takes several times its bytes.
pub const LOADING_INDEX_BYTES: usize = MAX_INDEX_BYTES as usize;
/// What all streams together hold of packs in memory before each is given copies of what it sends, and reads nothing ahead:
/// 512 MiB. A block is held as long as any of its bytes waits to be sent, and slow streams each hold others.
pub const BLOCK_HELD_BYTES: usize = 512 << 20;
/// How long such a block is sent as it was read: one minute, within which a crowd that fetches one bundle shares it.
pub const BLOCK_KEPT: SignedDuration = SignedDuration::from_mins(1);
/// A path in an archived tree, and a link's target.
pub const MAX_ARCHIVE_PATH_BYTES: usize = 4_095;
/// One name of such a path.
pub const MAX_ARCHIVE_NAME_BYTES: usize = 255;
/// How deep an archived tree goes.
pub const MAX_ARCHIVE_DEPTH: usize = 128;
/// Entries of a tree in a slot that deltas copy from; about 150 bytes of memory each. A larger one is fetched as chunks.
pub const MAX_VIEW_ENTRIES: usize = 100_000;

/// Payloads that a device says it holds, where it asks for a delta.
pub const MAX_DELTA_HELD: usize = 8;
/// Ranges of a delta in one question.
pub const MAX_DELTA_RANGES: usize = 4_096;
/// Deltas that wait to be made; more are not promised to devices that ask.
pub const MAX_DELTAS_WANTED: u64 = 64;
/// Deltas of one product that devices asked for, as far as they are kept.
pub const MAX_DELTAS_ASKED: u64 = 64;
/// Deltas that wait because one device asked for them: the payloads of a bundle, and few bundles have more.
pub const MAX_DELTAS_PER_DEVICE: u64 = 4;
/// How long a delta that a device asked for in vain counts among those: 30 days.
pub const DELTA_ASKED_COUNTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Each payload of a delta: 8 GiB. The server lays both on its disk while it makes it; a larger one is fetched as chunks.
pub const MAX_DELTA_PAYLOAD_BYTES: u64 = 8 << 30;
/// Indexes that a device says it holds, where it asks for another.
pub const MAX_HELD_INDEXES: usize = 8;

/// The head of a delta: 128 KiB. 8 bytes a frame, and few frames make less than 1 MiB, so twice what 8 GiB take.
pub const MAX_DELTA_HEAD_BYTES: usize = 128 << 10;
/// A region of a delta: what of the new payload one map is for.
pub const MAX_DELTA_REGION_BYTES: u32 = 64 << 20;
/// A region's map: 2 MiB, sixteen bytes a copy, which is more than any takes.
pub const MAX_DELTA_MAP_BYTES: usize = 2 << 20;
/// Copies in a region's map: 3 MiB of a device's memory, a third of it for where they lead in programs.
pub const MAX_DELTA_COPIES: usize = 128 << 10;
/// What the programs in a region's map take of a device's memory: 1 MiB.
pub const MAX_DELTA_PROGRAM_MEMORY: u64 = 1 << 20;
/// Frames of a payload's deltas that may be wrong, all told, before no more are fetched: 4, each of 4 MiB at most.
pub const MAX_WRONG_DELTA_FRAMES: u32 = 4;
/// How long a device waits for deltas of one bundle that are being made, whatever a server promises: 30 minutes from the first
/// promise on.
pub const MAX_DELTA_WAIT: SignedDuration = SignedDuration::from_mins(30);
/// The answer that offers a delta: 256 KiB, its head and five bytes for each frame in it.
pub const MAX_DELTA_OFFER_BYTES: usize = 256 << 10;
/// What a device takes of memory for deltas above what it takes idle, whatever a server sends it: 16 MiB. A test holds the others to it.
pub const MAX_DELTA_MEMORY: u64 = 16 << 20;
/// What one frame makes.
pub const MAX_DELTA_OUTPUT_BYTES: u32 = 4 << 20;
/// What one frame may take: 2 MiB. One that would take more is cut in two.
pub const MAX_DELTA_FRAME_BYTES: usize = 2 << 20;

/// Chunk digests in one question.
pub const MAX_CHUNKS_PER_CALL: usize = 65_536;

/// What a frame of a bulk stream aims at.
pub const FRAME_BYTES: usize = 256 << 10;
/// What a frame of chunks may take with its list of chunks: 1 MiB. A device holds a handful of them in memory.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// A bulk transfer that brings less than this in each [`STALL_WINDOW`] of waiting has stalled, and is asked for again: 1
/// KiB/s, for 2 Mbit/s shared by two hundred devices leave each a little more. Counted in bytes as they come: at that rate a
/// message takes minutes.
pub const STALL_BYTES: u64 = 60 << 10;
/// One minute: longer than a line takes to find another way, and not so long that a dead one holds the device up.
pub const STALL_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How long an upload may take to its next message, or it gives its place to another: 5 minutes, in which a line of 28 kbit/s
/// carries the longest.
pub const UPLOAD_IDLE: SignedDuration = SignedDuration::from_mins(5);
/// Any gRPC message, either way. A frame holds one chunk at least and stays below [`FRAME_BYTES`] + one chunk.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Parts of any gRPC message: messages, texts and numbers in lists, at whatever depth. A list of [`MAX_CHUNKS_PER_CALL`]
/// needs a quarter of it; 20 MiB of memory at most.
pub const MAX_MESSAGE_PARTS: usize = 256 << 10;
/// What a device sends in one call: 256 reports, the longest of which has 6 KiB.
pub const MAX_DEVICE_REQUEST_BYTES: usize = 2 << 20;
/// What a caller without a certificate sends in one call: a token, a request for a certificate, a name.
pub const MAX_ANONYMOUS_REQUEST_BYTES: usize = 64 << 10;

/// The least rate that a transfer is given, in bits a second: 256 kbit, by which a frame with one chunk more than it aims at
/// takes 16 seconds, half of what a device waits for it.
pub const LEAST_RATE_BITS: u64 = 256_000;
/// The greatest: 100 Gbit.
pub const MOST_RATE_BITS: u64 = 100_000_000_000;
/// Times of the day for which a hospital sets limits.
pub const MAX_PERIODS: usize = 16;
/// Devices of one hospital that fetch at once from one server, where the hospital has set no limit, and as many that wait.
pub const MAX_FETCHING_DEVICES: usize = 10_000;
/// Streams of one device at once: one, and one more while the server has not noticed that the one before was cut.
pub const MAX_STREAMS_PER_DEVICE: usize = 2;
/// Connections of one device: one, and those of which the server has not noticed yet that they were cut.
pub const MAX_CONNECTIONS_PER_DEVICE: usize = 4;
/// Connections of one operator: people and scripts of several machines, and the load tests' hundred clients.
pub const MAX_CONNECTIONS_PER_OPERATOR: usize = 256;
/// Calls of one identity that are answered at once: 8, each of which may hold a message in memory either way. More wait.
pub const MAX_CALLS_PER_IDENTITY: usize = 8;
/// Rollouts that one identity watches at once: 16.
pub const MAX_WATCHES_PER_IDENTITY: usize = 16;
/// Requests and answers that are in memory at once for all operators and devices of one hospital, or for the manufacturer: 1 GiB.
pub const MAX_MESSAGES_IN_MEMORY: u64 = 1 << 30;
/// Connections from one address, or network of IPv6, on which no certificate was shown: a ward that is enrolled at once from behind
/// one.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 64;
/// How long a device that stands in line is told to wait at most: 1 minute.
pub const MAX_IN_LINE: SignedDuration = SignedDuration::from_secs(60);
/// How long a device whose hospital lets nothing be fetched waits at most before it asks again: 15 minutes, by when the
/// hospital may have thought better of it.
pub const MAX_QUIET: SignedDuration = SignedDuration::from_mins(15);

/// Devices that one approval names.
pub const MAX_APPROVAL_DEVICES: usize = 10_000;
/// Devices without an approval that a rollout counts; one more says that there are more.
pub const MAX_UNAPPROVED_COUNTED: u32 = 1_000;
/// Of these, how many a rollout names.
pub const MAX_UNAPPROVED_NAMED: usize = 100;
/// Slots of all devices of one approval together; bounds what each device fetches of it.
pub const MAX_APPROVAL_SLOTS: usize = 40_000;
/// Shards that an approval's slots are cut into.
pub const MAX_SLOT_SHARDS: usize = 256;
/// Files in the register: rosters, calendars, operators' documents and notes on gates.
pub const MAX_REGISTER_FILES: usize = 8_192;
/// Labels of one device. With all that is signed of a thousand devices they stay below [`MAX_ROSTER_BYTES`].
pub const MAX_LABELS: usize = 8;
/// A label's key, and its value.
pub const MAX_LABEL_BYTES: usize = 32;
/// Labels that one selection names.
pub const MAX_SELECTED_LABELS: usize = 64;
/// Devices on one roster file.
pub const MAX_ROSTER_DEVICES: usize = 1_000;
/// Steps of an approval: bundles that are installed one after another.
pub const MAX_STEPS: usize = 16;
/// How long a device waits between two tries of one approval: a day.
pub const MAX_RETRY_WAIT_SECS: u32 = 86_400;
/// How long a device that has begun may be silent before its rollout counts it as failed: 7 days.
pub const MAX_ATTEMPT_TIMEOUT_SECS: u32 = 7 * 86_400;
/// How long a lease holds a place of a ward for a device that has not begun: 15 minutes, in which it hashes what it is to
/// install and claims its interlock.
pub const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// How often a device says again that it holds one: 5 minutes.
pub const LEASE_RENEWED: SignedDuration = SignedDuration::from_mins(5);
/// When a device that was refused one asks again at the latest: 1 minute.
pub const LEASE_ASK_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How long a device that has begun counts as down at most, whatever it says: 7 days, by when a person has returned it to
/// service, or revoked one that lies.
pub const MAX_DOWN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Approvals that one approval replaces.
pub const MAX_SUPERSEDED: usize = 64;
/// Waves of a rollout.
pub const MAX_WAVES: usize = 32;
/// Slots that one device gets in one approval.
pub const MAX_SLOTS_PER_DEVICE: usize = 16;
/// How fast the slowest device hashes what is staged, for which a slot leaves time: 16 MiB in a second.
pub const HASHED_BYTES_PER_SEC: u64 = 16 << 20;
/// How long a device may take from its last look at a slot to the switch, besides hashing: 5 seconds.
pub const CLAIM: SignedDuration = SignedDuration::from_secs(5);
/// Openings that a calendar is expanded to at once.
pub const MAX_OPENINGS: usize = 1_000;
/// Windows in a calendar.
pub const MAX_WINDOWS: usize = 64;
/// Freezes in a calendar.
pub const MAX_FREEZES: usize = 128;
/// How many dates a freeze takes each time that it recurs: 60.
pub const MAX_RECURRING_FREEZE_DAYS: u32 = 60;
/// An iCalendar file that is read: 1 MiB.
pub const MAX_ICS_BYTES: usize = 1 << 20;
/// Events in an iCalendar file.
pub const MAX_ICS_EVENTS: usize = 1_000;
/// Starts that are taken out of one recurrence rule.
pub const MAX_EXCEPTIONS: usize = 366;
/// A product's life cycle with all its history.
pub const MAX_LIFE_BYTES: u64 = 512 << 10;
/// Changes in it.
pub const MAX_LIFE_CHANGES: usize = 512;
/// Components whose support ends by themselves, and sentences on what is no longer covered, each, in one change.
pub const MAX_LIFE_NOTES: usize = 64;
/// How many years before an end of life or of support it is said: 2 (IMDRF N70, "at least 2 years in advance").
pub const LIFE_NOTICE_YEARS: i32 = 2;
/// How old a change may be when it is published: 30 days, in which all who must sign it have.
pub const MAX_LIFE_CHANGE_AGE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How far ahead of the server's clock the clock of its signer may be: 10 minutes.
pub const MAX_SIGNER_AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// An assessment of risk.
pub const MAX_ASSESSMENT_BYTES: u64 = 128 << 10;
/// Assessments of one hospital.
pub const MAX_ASSESSMENTS: u64 = 10_000;
/// Compensating controls that one lists.
pub const MAX_COMPENSATING: usize = 32;
/// Wards that a group of devices names.
pub const MAX_GROUP_WARDS: usize = 256;
/// Devices that a group of devices names.
pub const MAX_GROUP_DEVICES: usize = 1_000;
/// For how many months an assessment holds at most: a year.
pub const RISK_MONTHS: i32 = 12;
/// The same once support ends within [`RISK_ENDING_YEARS`]: half a year.
pub const RISK_ENDING_MONTHS: i32 = 6;
/// See [`RISK_ENDING_MONTHS`]: 2 years, when N70 has the transfer of responsibility begin.
pub const RISK_ENDING_YEARS: i32 = 2;
/// The same once support has ended: a quarter.
pub const RISK_ENDED_MONTHS: i32 = 3;
/// Words of a series in one answer: 32, of 256 KiB at most each with the answer to it.
pub const MAX_WORDS_PER_CALL: u32 = 32;
/// An agreement on who does what, and the consent to it: 60 cells, each with a note.
pub const MAX_AGREEMENT_BYTES: u64 = 128 << 10;
/// Agreements proposed to one hospital for one product.
pub const MAX_AGREEMENTS: u64 = 1_000;
/// The text of a recurrence rule.
pub const MAX_RULE_BYTES: usize = 512;
/// INTERVAL of a recurrence rule.
pub const MAX_RULE_INTERVAL: u32 = 10_000;
/// Times a day at which a recurrence rule begins: each five minutes.
pub const MAX_RULE_TIMES: usize = 288;
/// Periods looked at and starts found while one recurrence rule is expanded.
pub const MAX_RULE_STEPS: usize = 1_000_000;
/// A window's length: 7 days.
pub const MAX_WINDOW_SECS: u32 = 7 * 86_400;
/// The name of a time zone.
pub const MAX_ZONE_NAME_BYTES: usize = 64;
/// How far a calendar is expanded, and how far ahead a plan may reach: 400 days.
pub const MAX_HORIZON_SECS: i64 = 400 * 86_400;
/// A plan: below [`MAX_MESSAGE_BYTES`], for it travels in one message.
pub const MAX_PLAN_BYTES: u64 = 15 << 20;
/// Decisions of one hospital not to install a bundle, or not yet.
pub const MAX_DECISIONS: u64 = 10_000;
/// How far ahead the review of such a decision may be: 2 years.
pub const MAX_REVIEW_DAYS: i64 = 730;
/// Suggestions for rollouts that one hospital has at a time, of each bundle one.
pub const MAX_PROPOSALS: u64 = 64;
/// A suggestion for a rollout.
pub const MAX_SUGGESTION_BYTES: u64 = 16 << 10;
/// How long a suggestion lasts at most: 90 days.
pub const MAX_PROPOSAL_SECS: i64 = 90 * 86_400;
/// Hospitals that one suggestion goes to at once.
pub const MAX_PROPOSED_HOSPITALS: usize = 1_000;
/// Hospitals in one answer on how far a bundle is.
pub const MAX_ADOPTIONS_PER_CALL: u32 = 100;
/// What one side writes to the other (`suture-letter`): 128 KiB, most of which are indicators.
pub const MAX_LETTER_BYTES: u64 = 128 << 10;
/// Letters of one side to the other: 10,000.
pub const MAX_LETTERS: u64 = 10_000;
/// Letters in one answer: 100 of the longest stay below [`MAX_MESSAGE_BYTES`].
pub const MAX_LETTERS_PER_CALL: u32 = 100;
/// Hospitals to which one notice goes: 1,000, in calls of [`MAX_LETTERS_PER_CALL`].
pub const MAX_NOTICED_HOSPITALS: usize = 1_000;
/// A notice's subject: one line.
pub const MAX_SUBJECT_BYTES: usize = 200;
/// Each of a notice's longer texts: 8 KiB.
pub const MAX_NOTICE_TEXT_BYTES: usize = 8 << 10;
/// Releases, hardware revisions, CVEs, links, attachments, components and ways of upgrade that one notice names, each: 64.
pub const MAX_NOTICE_ITEMS: usize = 64;
/// Devices that one report of a suspicion names.
pub const MAX_SUSPECT_DEVICES: usize = 64;
/// Indicators of compromise in one report, and the longest of them.
pub const MAX_INDICATORS: usize = 128;
/// See [`MAX_INDICATORS`]: 512 bytes.
pub const MAX_INDICATOR_BYTES: usize = 512;
/// A file of indicators that is read: 1 MiB.
pub const MAX_INDICATOR_FILE_BYTES: u64 = 1 << 20;
/// How far ahead the answer to a notice may be due: 400 days.
pub const MAX_ANSWER_DAYS: i64 = 400;
/// By when a manufacturer's customers are told of an uncontrolled risk: 30 days after it has learned of it (FDA, Postmarket
/// Management of Cybersecurity in Medical Devices, 2016, V.B).
pub const TOLD_WITHIN_DAYS: i64 = 30;
/// By when what ends the risk is distributed: 60 days after that (ibid.).
pub const DISTRIBUTED_WITHIN_DAYS: i64 = 60;
/// How often a notice that nobody answers is repeated after its deadline: 4 times.
pub const MAX_REPEATS: u32 = 4;
/// How long after the deadline, and after each repetition, the next one is due: 7 days.
pub const REPEAT_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A range of versions, as text.
pub const MAX_RANGE_BYTES: usize = 1_024;
/// Versions that a range names.
pub const MAX_RANGE_CONSTRAINTS: usize = 64;
/// Statements about one vulnerability that a server answers by.
pub const MAX_QUESTION_STATEMENTS: u32 = 10_000;
/// Rollouts that bring what ends it, of one hospital.
pub const MAX_QUESTION_ROLLOUTS: u32 = 10_000;
/// A document of statements that is published beside the bundles: 4 MiB.
pub const MAX_VEX_BYTES: u64 = 4 << 20;
/// A package URL without its version, a component's name, or its version.
pub const MAX_PACKAGE_BYTES: usize = 1_024;
/// Components of a bundle, and statements that contradict one another, that an answer names.
pub const MAX_SHOWN_COMPONENTS: usize = 16;
/// After how many days without a check-in a device that is exposed is said to be silent, unless asked otherwise.
pub const EXPOSURE_SILENT_DAYS: u32 = 7;
/// Open vulnerabilities that a device is shown with.
pub const MAX_SHOWN_VULNERABILITIES: usize = 20;
/// Documents of bundles that an operator's program keeps.
pub const MAX_KEPT_DOCUMENTS: usize = 5_000;
/// Components of all bundles that one question is about.
pub const MAX_QUESTION_COMPONENTS: u32 = 100_000;
/// Letters that are repeated in one step of the server's.
pub const MAX_REPEATED_AT_ONCE: u32 = 50;
/// Where one hospital wants to be told: 16 webhooks or receivers of syslog.
pub const MAX_CONTACTS: u64 = 16;
/// How often a delivery is tried: 12 times, in three days.
pub const MAX_DELIVERY_TRIES: u32 = 12;
/// Deliveries that are under way at once.
pub const MAX_DELIVERIES_AT_ONCE: u32 = 16;
/// How long one delivery may take, from the name to the answer: 15 seconds.
pub const DELIVERY_PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// A machine's file of authorities: 4 MiB.
pub const MAX_AUTHORITIES_BYTES: u64 = 4 << 20;
/// Roots of a hospital in one answer: 16, of which each has at most [`MAX_ROOT_BYTES`], 8 MiB.
pub const MAX_ROOTS_PER_CALL: usize = 16;
/// Notices that one question about clocks names.
pub const MAX_CLOCK_NOTICES: usize = 64;
/// Files of one folder of evidence: 20,000.
pub const MAX_EVIDENCE_FILES: usize = 20_000;
/// The same in bytes: 2 GiB, all of which its maker holds in memory.
pub const MAX_EVIDENCE_BYTES: u64 = 2 << 30;
/// Entries of the audit record in it: 10,000.
pub const MAX_EVIDENCE_ENTRIES: usize = 10_000;
/// Rollouts in the evidence of a product or of a device, the latest: 64.
pub const MAX_EVIDENCE_ROLLOUTS: usize = 64;
/// Bundles in the evidence of a product, the latest: 256.
pub const MAX_EVIDENCE_BUNDLES: usize = 256;
/// Open vulnerabilities of each bundle that it names, the worst: 1,000.
pub const MAX_EVIDENCE_VULNERABILITIES: usize = 1_000;
/// Security events that its page shows, the gravest; its `served/events.json` has all of them: 500.
pub const MAX_EVIDENCE_EVENTS_SHOWN: usize = 500;
/// Plans that a server keeps for a hospital, the latest; who approves an older one plans it again.
pub const MAX_KEPT_PLANS: u64 = 256;
/// The same in bytes: 256 MiB.
pub const MAX_KEPT_PLANS_BYTES: u64 = 256 << 20;
/// Devices of one hospital, as its operators' programs list them, its server takes them in and its rosters have them.
pub const MAX_HOSPITAL_DEVICES: usize = 100_000;
/// Rows of a device import.
pub const MAX_IMPORT_DEVICES: usize = 10_000;
/// A device's report, or what it says at a check-in: a thousand devices of both fit into one answer.
pub const MAX_REPORT_BYTES: usize = 6 << 10;
/// Reports in one call.
pub const MAX_REPORTS_PER_CALL: usize = 256;
/// A report's number, as a server may claim to know it: 2^53. Far more than a device can write, and far from the end of all
/// numbers, to which no lie may drive the device.
pub const MAX_REPORT_NUMBER: u64 = 1 << 53;
/// Reports that a server keeps of a device and the report key that it enrolled with, the latest: 60 MB at most, and as many
/// as the device itself keeps.
pub const MAX_KEPT_REPORTS: u64 = 10_000;
/// Bytes of reports that are taken of a device in a day whatever others send: 256 KiB, some two hundred of the usual ones. An update
/// takes a dozen; more is to be told after weeks without a network, by all of a large hospital at once.
pub const DEVICE_REPORT_BYTES: u64 = 256 << 10;
/// Bytes of reports that are taken of a device in a day where its hospital's room lasts: 16 MiB, as much as all that wait on one
/// that was offline for long. More wait on the device until the next day.
pub const MAX_DEVICE_REPORT_BYTES: u64 = 16 << 20;
/// Bytes of reports that are taken in a day of all devices of a hospital beyond [`DEVICE_REPORT_BYTES`] of each: 1 GiB. A fleet of
/// [`MAX_HOSPITAL_DEVICES`] that is updated on one day needs none of it.
pub const MAX_HOSPITAL_REPORT_BYTES: u64 = 1 << 30;
/// Bytes of reports that are kept of one day, of all devices of a hospital together that are on no signed roster: 64 MiB, some
/// ten thousand of the longest. A device that waits for its roster sends a few.
pub const MAX_UNROSTERED_BYTES: u64 = 64 << 20;
/// An entry of the audit trail.
pub const MAX_AUDIT_ENTRY_BYTES: usize = 64 << 10;
/// Entries of one audit record: 2^40, a thousand a second for 34 years.
pub const MAX_AUDIT_ENTRIES: u64 = 1 << 40;
/// Entries that what one device says makes in a day: 200. Honest ones make a few.
pub const MAX_DEVICE_ENTRIES: u64 = 200;
/// Entries that one person writes in a day: 20,000, one in four seconds all day long.
pub const MAX_PERSON_ENTRIES: u64 = 20_000;
/// Entries that all persons of a hospital, or of the manufacturer, write in a day: 100,000, as many as a hospital has devices.
pub const MAX_ORGANISATION_ENTRIES: u64 = 100_000;
/// Bytes of assessments of risk, agreements and consents that an organisation says in a day: 64 MiB, 500 of the longest, or
/// some tens of thousands as people write them. All are kept for years.
pub const MAX_SAID_BYTES: u64 = 64 << 20;
/// Of these, what one person says: 16 MiB, a quarter, so that whoever has stolen one certificate leaves the others theirs.
pub const MAX_PERSON_SAID_BYTES: u64 = 16 << 20;
/// Decisions and assessments of risk that one person says in a day: 500. A hospital has room for [`MAX_DECISIONS`] and
/// [`MAX_ASSESSMENTS`], so that whoever has stolen a certificate is noticed long before they are spent.
pub const MAX_PERSON_WORDS: u64 = 500;
/// Of these, what all persons of a hospital say together: 2,000, however many colleagues a thief invites.
pub const MAX_ORGANISATION_WORDS: u64 = 2_000;
/// Agreements that are proposed in a day to one hospital for one product: 100, a tenth of [`MAX_AGREEMENTS`].
pub const MAX_DAILY_AGREEMENTS: u64 = 100;
/// For how long a job that one server of all does is claimed at most: 2 hours. A claim that lasts longer was made by a clock that was
/// wrong, and binds nobody.
pub const MAX_CLAIM: SignedDuration = SignedDuration::from_hours(2);
/// Publications that are taken of an organisation in a day though its entries are spent, and as many new roots besides: 1,000. Each
/// is newly signed by keys that the server has not got.
pub const MAX_RESERVED_ENTRIES: u64 = 1_000;
/// Bytes that are published into one repository in a day: 512 MiB, some thirty of the longest publications. All are kept for
/// ever.
pub const MAX_PUBLISHED_BYTES: u64 = 512 << 20;
/// Hashes in a proof about the audit record: twice as many as its tree can be high.
pub const MAX_PROOF_HASHES: usize = 80;
/// A signed note: 8 KiB, ten times what a checkpoint takes.
pub const MAX_NOTE_BYTES: usize = 8 << 10;
/// Signatures under a note.
pub const MAX_NOTE_SIGNATURES: usize = 16;
/// Changes of the audit record's key in its whole life.
pub const MAX_KEY_CHANGES: usize = 64;
/// The least age of audit entries whose text may be deleted: 2 years. 21 CFR 820.180(b) has records kept for a device's
/// expected life, and no less than two years from its release; who must keep them longer says so by the date that he gives.
pub const MIN_AUDIT_KEPT_SECS: i64 = 730 * 86_400;
/// Rows in one answer; more are had by asking on from the last.
pub const MAX_ROWS_PER_CALL: u32 = 1_000;
/// Rows in one answer to a program that asks for all, since it knows no pages; where there are more, it is told to be replaced.
pub const MAX_UNPAGED_ROWS: u32 = 10_000;
/// Rows of a list that an operator's program takes of a server, page by page.
pub const MAX_LISTED_ROWS: usize = 100_000;
/// Reports that wait on the device; beyond it the oldest that tell of no outcome are folded.
pub const MAX_OUTBOX_REPORTS: usize = 10_000;

/// An enrolment token's life: 7 days unless asked for less.
pub const MAX_TOKEN_SECS: i64 = 7 * 86_400;
/// A client certificate's life: 30 days; it renews at 70 %.
pub const CERTIFICATE_SECS: i64 = 30 * 86_400;
/// Certificates that one identity is issued within [`RENEWALS_COUNT`]. One is due in three weeks; a line that loses the answer
/// costs some more.
pub const MAX_RENEWALS: u64 = 24;
/// See [`MAX_RENEWALS`]: a day.
pub const RENEWALS_COUNT: SignedDuration = SignedDuration::from_hours(24);
/// How long an expired, unrevoked certificate may still be renewed: 2 years, a device's stay on a shelf.
pub const RENEWAL_GRACE_SECS: i64 = 730 * 86_400;

/// A line that is asked of the agent's local face: 64 KiB, twice what a stop order in it takes.
pub const MAX_FACE_LINE_BYTES: usize = 64 << 10;
/// What it answers: 2 MiB, the log of a device told twice, for people and for programs.
pub const MAX_FACE_ANSWER_BYTES: usize = 2 << 20;
/// Connections to it at once: a screen, a monitor and some people.
pub const MAX_FACE_CONNECTIONS: usize = 16;
/// Of those, how many are for local users who may only read.
pub const MAX_FACE_READERS: usize = 8;
/// How long a line, what it asks for, and reading the answer may take, each: 1 minute.
pub const FACE_TIMEOUT: SignedDuration = SignedDuration::from_mins(1);
/// A person's name, as they give it themselves at a device.
pub const MAX_PERSON_BYTES: usize = 100;
/// A device's `/etc/passwd` and `/etc/group`: 1 MiB.
pub const MAX_ACCOUNTS_BYTES: u64 = 1 << 20;
/// The device's log on disk, each of its two files: 128 KiB.
pub const MAX_LOG_BYTES: u64 = 128 << 10;
/// What of it is shown: the last 200 entries.
pub const MAX_LOG_ENTRIES: usize = 200;

/// Whom or what a security event is about.
pub const MAX_EVENT_SUBJECT_BYTES: usize = 200;
/// What else is said of it.
pub const MAX_EVENT_DETAIL_BYTES: usize = 500;
/// Equal security events within that time are one with a count: 1 hour.
pub const EVENT_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Different security events that wait for being written, in one program: 1,000, or 1 MB.
pub const MAX_EVENTS_WAITING: usize = 1_000;
/// Security events that a device keeps until its server has them; the least grave, and of those the oldest, go first.
pub const MAX_DEVICE_EVENTS: usize = 200;
/// Security events in one check-in.
pub const MAX_EVENT_BATCH: usize = 16;
/// The same in bytes: 32 KiB.
pub const MAX_EVENT_BATCH_BYTES: usize = 32 << 10;
/// Security events that a server keeps of each hospital, and of itself: 20,000, or 20 MB. The least grave, and of those the
/// oldest, go first, and how many went is counted.
pub const MAX_KEPT_EVENTS: u64 = 20_000;
/// Of these, what one device has seen and signed: 400, twice what it keeps itself.
pub const MAX_KEPT_DEVICE_EVENTS: u64 = 400;
/// How long a device may be silent before it counts as lost, where its hospital says nothing else: 7 days.
pub const LOST_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The least that a hospital may say: 1 hour.
pub const MIN_LOST_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// The most: 1 year.
pub const MAX_LOST_AFTER: SignedDuration = SignedDuration::from_hours(365 * 24);
