//! The record on both databases: appended, proven, known by its key, and kept as long as it must be.

use jiff::{SignedDuration, Timestamp};
use suture_core::audit::{Checkpoint, Concern, Frontier, Head, LogKey, Refused, Taken, Witness, includes};
use suture_core::digest::Digest;
use suture_core::id::{HdoId, TrustDomain};
use suture_core::limits::{MAX_DAILY_AGREEMENTS, MAX_ORGANISATION_WORDS, MAX_PERSON_SAID_BYTES, MAX_PERSON_WORDS};
use suture_core::principal::Principal;

use super::key::{KeyError, ensure, rotate};
use super::log::{Log, Seen};
use super::retention::{Kept, Passed, Pruned, RetentionError, apply, doubted, in_steps, look, prune};
use super::{AuditError, append, growth};
use crate::store::suite::each;
use crate::store::{Driver, Lock, Store};

const SEAL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn origin() -> TrustDomain {
    "acme.example".parse().unwrap()
}

fn at(days: i64) -> Timestamp {
    "2024-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days)
}

async fn write(store: &Store, count: u64, now: Timestamp) -> Head {
    let mut head = Head::empty();
    for _ in 0..count {
        let mut tx = store.begin().await.unwrap();
        let by = Principal::Server;
        head = append(&mut tx, now, &by, Concern::Everybody, "test.append", "test", ().into()).await.unwrap();
        tx.commit().await.unwrap();
    }
    head
}

/// A record with its key, and who knows it.
async fn begun(store: &Store) -> (Log, Witness) {
    let mut tx = store.begin().await.unwrap();
    let key = ensure(&mut tx, &origin(), SEAL, at(0)).await.unwrap();
    assert_eq!(ensure(&mut tx, &origin(), SEAL, at(0)).await.unwrap(), key, "it is made once");
    tx.commit().await.unwrap();
    (Log::new(store.clone(), origin()), Witness::new(key))
}

fn seen(witness: &Witness) -> Seen {
    Seen { size: witness.size(), key: Some(witness.key.key) }
}

async fn run(store: &Store, statement: &'static str) {
    let mut tx = store.begin().await.unwrap();
    match tx.driver() {
        Driver::Sqlite(c) => drop(sqlx::query(statement).execute(c).await.unwrap()),
        Driver::Postgres(c) => drop(sqlx::query(statement).execute(c).await.unwrap()),
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_growing_record_is_followed_from_any_size_and_every_entry_is_proven() {
    each(async |store| {
        let (log, mut witness) = begun(&store).await;
        let mut witnesses = vec![witness.clone()];
        for count in [1, 1, 3, 6, 20] {
            let head = write(&store, count, at(0)).await;
            assert_eq!(witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap(), Taken::Grown);
            assert_eq!(witness.head, Some(head));
            witnesses.push(witness.clone());
        }
        assert_eq!(witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap(), Taken::Stands);
        for mut earlier in witnesses {
            earlier.take(&log.news(seen(&earlier), SEAL).await.unwrap()).unwrap();
            assert_eq!(earlier, witness);
        }
        let head = witness.head.unwrap();
        for seq in 1..=head.size {
            let proven = log.prove(seq, head.size).await.unwrap().unwrap();
            assert!(includes(&head, seq - 1, &proven.row.payload_sha256, &proven.path), "{seq}");
        }
        for (seq, size) in [(0, head.size), (head.size + 1, head.size), (1, head.size + 1), (1, 0)] {
            assert!(log.prove(seq, size).await.unwrap().is_none(), "{seq} of {size}");
        }
        // Another server process over the same database signs the same.
        let other = Log::new(store.clone(), origin()).checkpoint(SEAL).await.unwrap();
        assert_eq!(Some(other.note()), witness.checkpoint.as_deref());
        let wrong = Log::new(store.clone(), origin()).checkpoint(&SEAL.replace('0', "1")).await;
        assert!(matches!(wrong, Err(KeyError::Seal(_))), "{wrong:?}");
    })
    .await;
}

/// What becomes of the entries' digests.
type Edit = fn(&mut Vec<Digest>);

/// Rewrites the whole record as somebody would who holds the database: rows and tree fit together afterwards.
async fn rewrite(store: &Store, edit: impl Fn(&mut Vec<Digest>)) {
    let mut tx = store.begin().await.unwrap();
    let rows = tx.audit_after(0, 1_000).await.unwrap();
    let mut digests: Vec<_> = rows.iter().map(|r| r.payload_sha256).collect();
    edit(&mut digests);
    tx.commit().await.unwrap();
    run(store, "DELETE FROM audit").await;
    run(store, "DELETE FROM audit_node").await;
    let mut tx = store.begin().await.unwrap();
    let mut frontier = Frontier::EMPTY;
    for (digest, row) in digests.into_iter().zip(rows) {
        for (place, sha256) in frontier.push(&digest) {
            tx.insert_audit_node(&place, &sha256).await.unwrap();
        }
        let Head { size: seq, root } = frontier.head();
        let row = crate::store::audit::AuditRow { seq, root, payload: None, payload_sha256: digest, ..row };
        tx.insert_audit(&row).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_database_in_which_entries_were_dropped_reordered_or_edited_convicts_itself() {
    each(async |store| {
        let (log, mut witness) = begun(&store).await;
        write(&store, 9, at(0)).await;
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        let honest: Vec<_> = rows.iter().map(|r| r.payload_sha256).collect();
        let edits: [(&str, Edit); 4] = [
            ("dropped", |d| {
                d.remove(3);
            }),
            ("reordered", |d| d.swap(2, 5)),
            ("edited", |d| d[4] = Digest::of(b"another")),
            ("cut", |d| d.truncate(6)),
        ];
        for (name, edit) in edits {
            rewrite(&store, |d| {
                d.clone_from(&honest);
                edit(d);
            })
            .await;
            // Grown past what was seen: the number of entries gives nothing away.
            write(&store, 7, at(1)).await;
            let refused = witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap_err();
            let Refused::Rewritten { checkpoint, .. } = refused else { panic!("{name}: {refused}") };
            Checkpoint::verify(&checkpoint, &witness.key).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_built_on_a_tree_that_is_damaged() {
    each(async |store| {
        begun(&store).await;
        write(&store, 4, at(0)).await;
        run(&store, "DELETE FROM audit_node WHERE number = 8").await;
        let mut tx = store.begin().await.unwrap();
        let by = Principal::Server;
        let refused = append(&mut tx, at(0), &by, Concern::Everybody, "a", "b", ().into()).await;
        assert!(matches!(refused, Err(AuditError::Store(_))), "{refused:?}");
        drop(tx);
        run(&store, "INSERT INTO audit_node (number, sha256) SELECT 8, sha256 FROM audit_node WHERE number = 0").await;
        let mut tx = store.begin().await.unwrap();
        let refused = append(&mut tx, at(0), &by, Concern::Everybody, "a", "b", ().into()).await;
        assert!(matches!(refused, Err(AuditError::Damaged(5))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn another_key_is_followed_by_everybody_and_the_old_ones_private_half_is_gone() {
    each(async |store| {
        let (log, mut witness) = begun(&store).await;
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let old = witness.key.clone();
        for _ in 0..2 {
            let mut tx = store.begin().await.unwrap();
            rotate(&mut tx, &origin(), SEAL, at(1)).await.unwrap();
            tx.commit().await.unwrap();
        }
        let news = log.news(seen(&witness), SEAL).await.unwrap();
        assert_eq!(news.succession.len(), 2);
        witness.take(&news).unwrap();
        let newest: LogKey = log.key(SEAL).await.unwrap();
        assert!(witness.key == newest && newest != old);
        assert!(log.news(seen(&witness), SEAL).await.unwrap().succession.is_empty());
        let keys = store.read().await.unwrap().audit_keys().await.unwrap();
        assert_eq!(keys.iter().map(|k| k.sealed.is_some()).collect::<Vec<_>>(), [false, false, true]);
        // Who knows a key that this record never had is told of no way from it.
        let stranger = Seen {
            size: 0,
            key: Some(
                LogKey {
                    key: suture_core::sign::Signer::public(&suture_core::sign::LocalKey::from_seed(
                        &zeroize::Zeroizing::new([9; 32]),
                    )),
                    ..old
                }
                .key,
            ),
        };
        assert!(log.news(stranger, SEAL).await.unwrap().succession.is_empty());
    })
    .await;
}

#[tokio::test]
async fn texts_that_are_deleted_leave_a_record_that_still_proves_them() {
    each(async |store| {
        let (log, mut witness) = begun(&store).await;
        write(&store, 5, at(0)).await;
        write(&store, 3, at(10)).await;
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let before = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        let day = |days| jiff::tz::Offset::UTC.to_datetime(at(days)).date();

        let early = prune(&store, day(5), at(5 + 729)).await.unwrap_err();
        let RetentionError::TooYoung { latest } = early else { panic!("{early}") };
        assert_eq!(latest, day(4));
        let now = at(5 + 730);
        let pruned = prune(&store, day(5), now).await.unwrap();
        assert_eq!((pruned.entries, pruned.first, pruned.last), (6, 1, 6));
        assert_eq!(prune(&store, day(5), now).await.unwrap().entries, 0, "nothing is left to delete, nor to record");

        let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        assert_eq!(
            rows.iter().map(|r| r.payload.is_some()).collect::<Vec<_>>(),
            [false, false, false, false, false, false, true, true, true, true]
        );
        let entry = suture_core::audit::Entry::parse(10, rows[9].payload.as_ref().unwrap()).unwrap();
        assert_eq!((entry.action.as_str(), &entry.detail["last"]), ("audit.pruned", &6.into()));
        // The record goes on from what was seen before, and a text that somebody kept is proven yet.
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let proven = log.prove(3, 10).await.unwrap().unwrap();
        let kept = Digest::of(before[2].payload.as_ref().unwrap());
        assert!(includes(&witness.head.unwrap(), 2, &kept, &proven.path));
    })
    .await;
}

#[tokio::test]
async fn nobody_writes_without_end_and_everybody_can_stop_something_at_any_time() {
    each(async |store| {
        // 19,723 days after 1970 it is the first of January 2024.
        run(&store, "INSERT INTO audit_writer VALUES ('hdo/riverside/operator/kim', 19723, 19999)").await;
        run(&store, "INSERT INTO audit_writer VALUES ('hdo/lakeside', 19723, 99999)").await;
        let write = async |hdo: &str, name: &str, action: &str, now: Timestamp| {
            let hdo: HdoId = hdo.parse().unwrap();
            let by = Principal::Operator(hdo.clone(), name.parse().unwrap());
            let mut tx = store.begin().await.unwrap();
            let done = append(&mut tx, now, &by, (&hdo).into(), action, "test", ().into()).await;
            tx.commit().await.unwrap();
            done
        };
        write("riverside", "kim", "rollout.resumed", at(0)).await.unwrap();
        let refused = write("riverside", "kim", "rollout.resumed", at(0)).await.unwrap_err();
        assert!(matches!(&refused, AuditError::TooMany { writer, .. } if writer.ends_with("/kim")), "{refused}");
        write("riverside", "kim", "rollout.paused", at(0)).await.unwrap();
        write("riverside", "sam", "rollout.resumed", at(0)).await.unwrap();
        write("riverside", "kim", "rollout.resumed", at(1)).await.unwrap();
        // All of a hospital's together, however many there are.
        write("lakeside", "kim", "rollout.resumed", at(0)).await.unwrap();
        let refused = write("lakeside", "sam", "rollout.resumed", at(0)).await.unwrap_err();
        assert!(matches!(&refused, AuditError::TooMany { writer, .. } if writer == "hdo/lakeside"), "{refused}");
        write("lakeside", "sam", "rollout.stopped", at(0)).await.unwrap();
        // Nobody's certificate ends for want of an entry.
        write("lakeside", "sam", "certificate.renewed", at(0)).await.unwrap();
        // What stands already narrows nothing when it is ordered again.
        for again in ["rollout.stopped-again", "device.refused-again"] {
            assert!(write("lakeside", "sam", again, at(0)).await.is_err(), "{again}");
        }
    })
    .await;
}

/// Attack: a thief of one person's certificate who says all that an organisation may say in a day.
#[tokio::test]
async fn one_person_says_a_part_of_what_an_organisation_may_say_in_a_day() {
    each(async |store| {
        let say = async |name: &str, bytes: u64, now: Timestamp| {
            let by = Principal::Operator("riverside".parse().unwrap(), name.parse().unwrap());
            let mut tx = store.begin().await.unwrap();
            let said = growth::said(&mut tx, &by, usize::try_from(bytes).unwrap(), now).await;
            if said.is_ok() {
                tx.commit().await.unwrap();
            }
            said.map_err(|refused| refused.to_string())
        };
        say("kim", MAX_PERSON_SAID_BYTES, at(0)).await.unwrap();
        for _ in 0..5 {
            let refused = say("kim", 1, at(0)).await.unwrap_err();
            assert!(refused.starts_with("hdo/riverside/operator/kim has said 16 MiB of "), "{refused}");
            assert!(refused.contains("one person") && refused.contains("00:00 UTC"), "{refused}");
        }
        for name in ["sam", "lee", "ann"] {
            say(name, MAX_PERSON_SAID_BYTES, at(0)).await.unwrap();
        }
        let refused = say("joe", 1, at(0)).await.unwrap_err();
        assert!(refused.starts_with("hdo/riverside has said 64 MiB of "), "{refused}");
        assert!(refused.contains("one organisation") && refused.contains("00:00 UTC"), "{refused}");
        say("kim", MAX_PERSON_SAID_BYTES, at(1)).await.unwrap();
    })
    .await;
}

/// Attack: a thief of one person's certificate who invites himself as colleagues, each of whom says as much as a person may; and one
/// of the manufacturer's, who proposes to one hospital without end.
#[tokio::test]
async fn colleagues_that_a_thief_invites_spend_no_series_in_a_day() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let riverside: HdoId = "riverside".parse().unwrap();
        let mut said = 0;
        let refused = 'all: loop {
            for name in ["a", "b", "c", "d", "e"] {
                let by = Principal::Operator(riverside.clone(), name.parse().unwrap());
                for _ in 0..MAX_PERSON_WORDS {
                    match growth::worded(&mut tx, &by, at(0)).await {
                        Ok(()) => said += 1,
                        Err(refused) => break 'all refused.to_string(),
                    }
                }
            }
        };
        assert_eq!(said, MAX_ORGANISATION_WORDS);
        assert!(refused.contains("2000 decisions and assessments of hdo/riverside"), "{refused}");
        let (pump, monitor) = ("pump".parse().unwrap(), "monitor".parse().unwrap());
        for _ in 0..MAX_DAILY_AGREEMENTS {
            growth::proposed(&mut tx, (&riverside, &pump), at(0)).await.unwrap();
        }
        let refused = growth::proposed(&mut tx, (&riverside, &pump), at(0)).await.unwrap_err().to_string();
        assert!(refused.contains("100 agreements proposed to riverside for pump"), "{refused}");
        growth::proposed(&mut tx, (&riverside, &monitor), at(0)).await.unwrap();
        growth::proposed(&mut tx, (&riverside, &pump), at(1)).await.unwrap();
    })
    .await;
}

/// What the entries say that texts were deleted: their first, last and how many, and which entries have theirs yet.
async fn pruned(store: &Store) -> (Vec<[u64; 3]>, Vec<u64>) {
    let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
    let kept: Vec<_> = rows.iter().filter_map(|row| Some((row.seq, row.payload.clone()?))).collect();
    let entries = kept.iter().map(|(seq, text)| suture_core::audit::Entry::parse(*seq, text).unwrap());
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let told = entries.filter(|entry| entry.action == "audit.pruned");
    let told = told.map(|entry| ["first", "last", "entries"].map(|name| number(&entry.detail[name]))).collect();
    (told, kept.iter().map(|(seq, _)| *seq).collect())
}

#[tokio::test]
async fn a_policy_deletes_by_whole_months_once_and_leaves_what_verifies() {
    each(async |store| {
        let (log, mut witness) = begun(&store).await;
        write(&store, 3, at(0)).await;
        write(&store, 2, at(30)).await;
        write(&store, 2, at(31)).await;
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let text = store.read().await.unwrap().audit_after(1, 1).await.unwrap()[0].payload.clone().unwrap();
        let now = |text: &str| text.parse().unwrap();
        for (kept, when) in [(Kept::Forever, "2090-01-01T00:00:00Z"), (Kept::Years(2), "2026-01-31T23:59:59Z")] {
            assert_eq!(apply(&store, kept, now(when)).await.unwrap().entries, 0, "{when}");
        }
        // January of 2024 is two years old on all its days, by a clock that the record has seen at work.
        for day in 755..762 {
            write(&store, 1, at(day)).await;
        }
        for when in ["2026-02-01T00:00:00Z", "2026-02-01T01:00:00Z", "2026-02-28T00:00:00Z"] {
            apply(&store, Kept::Years(2), now(when)).await.unwrap();
        }
        assert_eq!(pruned(&store).await, (vec![[1, 6, 6]], (7..=16).collect()));
        // And February, 730 days after its last.
        for day in 781..788 {
            write(&store, 1, at(day)).await;
        }
        apply(&store, Kept::Days(730), now("2026-03-01T00:00:00Z")).await.unwrap();
        assert_eq!(pruned(&store).await.0, [[1, 6, 6], [7, 8, 2]]);
        witness.take(&log.news(seen(&witness), SEAL).await.unwrap()).unwrap();
        let proven = log.prove(2, witness.size()).await.unwrap().unwrap();
        assert!(includes(&witness.head.unwrap(), 1, &Digest::of(&text), &proven.path));
    })
    .await;
}

/// Attack: whoever sets the server's clock, over the network or at the machine, has it delete the record.
#[tokio::test]
async fn a_clock_that_has_leapt_ahead_deletes_nothing_of_the_record() {
    each(async |store| {
        begun(&store).await;
        for day in 0..30 {
            write(&store, 1, at(day)).await;
        }
        let refused = apply(&store, Kept::Years(2), at(4_000)).await.unwrap_err();
        assert!(matches!(refused, RetentionError::Leapt(0)), "{refused}");
        for (days, day) in (1..7).zip(4_000..) {
            // What the server writes by the same clock.
            write(&store, 5, at(day)).await;
            let refused = apply(&store, Kept::Years(2), at(day)).await.unwrap_err();
            assert!(matches!(refused, RetentionError::Leapt(seen) if seen == days), "{refused}");
        }
        assert!(pruned(&store).await.0.is_empty());
        write(&store, 1, at(4_006)).await;
        assert_eq!(apply(&store, Kept::Years(2), at(4_006)).await.unwrap().entries, 31, "it was right after all");
    })
    .await;
}

/// Attack: whoever sets the clock on by a day each hour, for as many hours as the record must have lived through days.
#[tokio::test]
async fn a_clock_that_leaps_a_day_an_hour_deletes_nothing_before_days_have_passed() {
    each(async |store| {
        begun(&store).await;
        write(&store, 9, at(0)).await;
        let hours = SignedDuration::from_hours;
        let look = async |ours: bool, told: i64, lived: i64, now: Timestamp| {
            let doubt = doubted(&store, ours, Passed { told: hours(told), lived: hours(lived) }).await.unwrap();
            look(&store, (Kept::Years(2), ours), doubt, now).await
        };
        for day in 2_000..2_010 {
            write(&store, 1, at(day)).await;
            let refused = look(true, 25, 1, at(day)).await.unwrap_err();
            assert!(matches!(refused, RetentionError::Doubted(_)), "{refused}");
        }
        // Its own fault, or another server's: what passes at servers that do not look for all counts once.
        for hour in 1..168 {
            look(false, 1, 1, at(2_010)).await.unwrap();
            let refused = look(true, 1, 1, at(2_010)).await.unwrap_err();
            assert!(matches!(refused, RetentionError::Doubted(left) if left == hours(168 - hour)), "{hour}: {refused}");
        }
        assert!(pruned(&store).await.0.is_empty());
        assert!(look(false, 25, 1, at(2_010)).await.is_ok());
        assert!(look(true, 1, 1, at(2_010)).await.is_err(), "another server has seen it leap");
        assert_eq!(look(true, 167, 167, at(2_010)).await.unwrap().entries, 10, "it was right after all");
        // A clock that is set back, and one that is a little fast, delete nothing that is not old.
        assert_eq!(look(true, -5_000, 1, at(1_000)).await.unwrap(), Pruned::default());
        assert_eq!(look(true, 2, 1, at(2_010)).await.unwrap(), Pruned::default());
    })
    .await;
}

#[tokio::test]
async fn much_is_deleted_in_steps_each_of_which_says_what_it_has_deleted() {
    each(async |store| {
        begun(&store).await;
        write(&store, 9, at(0)).await;
        let done = in_steps(&store, at(1), 4, at(800)).await.unwrap();
        assert_eq!((done.entries, done.first, done.last), (10, 1, 10));
        assert_eq!(pruned(&store).await, (vec![[1, 4, 4], [5, 8, 4], [9, 10, 2]], vec![11, 12, 13]));
    })
    .await;
}

/// Attack: a change by a thief of a certificate that waits for the record while whose it is is revoked.
#[tokio::test]
async fn who_was_revoked_changes_nothing_any_more_not_even_what_was_under_way() {
    each(async |store| {
        let (hdo, name): (HdoId, suture_core::id::OperatorName) =
            ("riverside".parse().unwrap(), "kim".parse().unwrap());
        let kim = Principal::Operator(hdo.clone(), name.clone());
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo, "Riverside", at(0)).await.unwrap();
        assert!(tx.join_operator(Some(&hdo), &name, at(0)).await.unwrap());
        let what = ("test.append", "test");
        append(&mut tx, at(0), &kim, (&hdo).into(), what.0, what.1, ().into()).await.unwrap();
        tx.commit().await.unwrap();
        let mut revoking = store.begin().await.unwrap();
        assert!(revoking.revoke_operator(Some(&hdo), &name, at(1)).await.unwrap());
        revoking.lock(Lock::AuditChain).await.unwrap();
        let acting = tokio::spawn({
            let (store, hdo, kim) = (store.clone(), hdo.clone(), kim.clone());
            async move {
                let mut tx = store.begin().await.unwrap();
                append(&mut tx, at(1), &kim, (&hdo).into(), what.0, what.1, ().into()).await
            }
        });
        tokio::task::yield_now().await;
        revoking.commit().await.unwrap();
        let refused = acting.await.unwrap();
        assert!(matches!(&refused, Err(AuditError::Revoked { actor }) if *actor == kim.to_string()), "{refused:?}");
        // Who joins again acts again.
        let mut tx = store.begin().await.unwrap();
        assert!(tx.join_operator(Some(&hdo), &name, at(2)).await.unwrap());
        append(&mut tx, at(2), &kim, (&hdo).into(), what.0, what.1, ().into()).await.unwrap();
    })
    .await;
}
