//! An open stream ends with the right to it.

use suture_core::limits::CERTIFICATE_SECS;
use suture_proto::v1;
use suture_tests::world::{Kind, Spec, World};
use tonic::{Code, Streaming};

use super::refused;

type Watch = Streaming<v1::WatchRolloutResponse>;

async fn state(watch: &mut Watch) -> String {
    watch.message().await.unwrap().unwrap().rollout.unwrap().state
}

async fn revoked(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    let daily = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    kim.run(&["calendar", "set", "icu", "--zone", "Europe/Berlin", "--weekly", daily]).await.unwrap();
    let mut pumps = world.devices(&kim, &["pump-1"], &first).await;
    pumps[0].cycle().await;
    let plan = kim.json(&["rollout", "plan", "--bundle", &second.name, "--ward", "icu"]).await.unwrap();
    let plan = plan["sha256"].as_str().unwrap();
    let approved = kim.json(&["rollout", "approve", plan, "--reason", "tested on the bench"]).await.unwrap();
    let id = approved["rollout"].as_str().unwrap().to_owned();

    let sam = world.operator("sam");
    let token = kim.json(&["operator", "invite", "sam"]).await.unwrap();
    sam.run(&["join", token["token"].as_str().unwrap()]).await.unwrap();
    let request = v1::WatchRolloutRequest { id: id.clone() };
    let mut calls = world.operator_calls(Some(sam.identity())).await;
    let mut sams = calls.watch_rollout(request.clone()).await.unwrap().into_inner();
    let mut kims = world.operator_calls(Some(kim.identity())).await;
    let mut kims = kims.watch_rollout(request.clone()).await.unwrap().into_inner();
    assert_eq!((state(&mut sams).await, state(&mut kims).await), ("running".to_owned(), "running".to_owned()));

    // What happens after the revocation is not for sam any more; kim goes on watching.
    kim.run(&["operator", "revoke", "sam"]).await.unwrap();
    kim.run(&["rollout", "pause", &id, "--reason", "let us look first"]).await.unwrap();
    refused(sams.message().await, Code::Unauthenticated, &["revoked"]);
    refused(calls.watch_rollout(request).await, Code::Unauthenticated, &["revoked"]);
    assert_eq!(state(&mut kims).await, "paused");

    // Kim's own right ends with the certificate, with nothing happening.
    world.pass(CERTIFICATE_SECS + 1);
    refused(kims.message().await, Code::PermissionDenied, &["has expired", "renew it"]);
}
on_both!(a_watcher_who_is_revoked_sees_nothing_more, super::revoked);
