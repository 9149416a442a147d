//! The audit trail: everybody verifies all of it and reads what concerns them.

use suture_core::audit::{Concern, Entry, Head, Leaf, Reading};
use suture_proto::v1;
use suture_tests::world::{HDO, Kind, Operator, World};

/// The whole record as somebody is given it, verified; the entries that came with their text.
async fn read(world: &World, who: &Operator) -> (Head, Vec<Entry>) {
    let mut calls = world.operator_calls(Some(who.identity())).await;
    let page = calls.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    assert!(!page.more);
    let mut reading = Reading::from_start(Head::empty());
    let mut entries = Vec::new();
    for entry in page.entries {
        entries.extend(reading.take(&Leaf::try_from(entry).unwrap()).unwrap());
    }
    (reading.head(), entries)
}

fn did(entries: &[Entry], action: &str, subject: &str) -> bool {
    entries.iter().any(|e| e.action == action && e.subject == subject)
}

async fn read_by_whom_it_concerns(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let invitation = ada.json(&["hdo", "invite", "lakeside", "--name", "Lakeside Clinic"]).await.unwrap();
    let lee = world.operator("lee");
    let join = ["hdo", "join", invitation["token"].as_str().unwrap(), "--name", "lee", "--no-passphrase"];
    lee.run(&join).await.unwrap();
    for (who, colleague) in [(&ada, "bob"), (&kim, "sam"), (&lee, "mia")] {
        who.run(&["operator", "invite", colleague]).await.unwrap();
    }

    let (ada_head, ada_reads) = read(&world, &ada).await;
    let (kim_head, kim_reads) = read(&world, &kim).await;
    let (lee_head, lee_reads) = read(&world, &lee).await;
    // One record: who withholds, alters or reorders it shows different heads to different people.
    assert_eq!((ada_head, kim_head), (kim_head, lee_head));

    let hdo = |id: &str| Concern::Hospital(id.parse().unwrap());
    for (entries, own) in [(&ada_reads, Concern::Manufacturer), (&kim_reads, hdo(HDO)), (&lee_reads, hdo("lakeside"))] {
        assert!(entries.iter().any(|e| e.concerns == own), "{own} reads nothing of its own");
        for entry in entries {
            assert!(entry.concerns == own || entry.concerns == Concern::Everybody, "{own} reads {entry:?}");
        }
        // The catalog and the server are everybody's business.
        assert!(did(entries, "server.init", "server") && did(entries, "repository.publish", "catalog"), "{own}");
    }
    let kims = "hdo/riverside/operator/kim";
    assert!(
        did(&kim_reads, "operator.joined", kims) && did(&kim_reads, "operator.invited", "hdo/riverside/operator/sam")
    );
    assert!(did(&ada_reads, "operator.joined", "mdm/ada") && did(&ada_reads, "operator.invited", "mdm/bob"));
    // Nobody's people are named to others.
    for (entries, others) in [(&ada_reads, ["kim", "lee"]), (&kim_reads, ["bob", "lee"]), (&lee_reads, ["bob", "kim"])]
    {
        for other in others {
            let named =
                |e: &&Entry| e.subject.ends_with(&format!("/{other}")) || e.actor.ends_with(&format!("/{other}"));
            assert!(entries.iter().find(named).is_none(), "{other} is named");
        }
    }
    // What the programs make of it.
    for (who, withheld) in [(&ada, ada_reads.len()), (&kim, kim_reads.len())] {
        let verified = who.json(&["audit", "verify"]).await.unwrap();
        assert_eq!(verified["entries"], kim_head.size);
        assert_eq!(verified["withheld"], kim_head.size - withheld as u64);
    }
}
on_both!(the_record_is_one_and_each_reads_its_own, super::read_by_whom_it_concerns);
