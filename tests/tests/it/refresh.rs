//! What it costs a device to hear that nothing has changed, and to hear what has.

use suture_tests::world::Device;

use super::hospital::Hospital;

/// Calls, bytes sent and bytes received in one cycle.
async fn cycle(device: &mut Device) -> (u64, u64, u64) {
    let before = device.agent().traffic().counts();
    device.cycle().await;
    let after = device.agent().traffic().counts();
    (after.0 - before.0, after.1 - before.1, after.2 - before.2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_device_makes_one_small_call() {
    let mut hospital = Hospital::open().await;
    for _ in 0..2 {
        hospital.pumps[0].cycle().await;
    }
    let nothing = cycle(&mut hospital.pumps[0]).await;
    hospital.world.idle(2).await;
    let resigned = cycle(&mut hospital.pumps[0]).await;
    let settled = cycle(&mut hospital.pumps[0]).await;
    let nights = ["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", "mon 00:00 6h"];
    hospital.kim.run(&nights).await.unwrap();
    let published = cycle(&mut hospital.pumps[0]).await;
    for (what, (calls, sent, received)) in [
        ("nothing changed", nothing),
        ("timestamps signed anew", resigned),
        ("nothing changed", settled),
        ("new targets of the approvals", published),
    ] {
        println!("{what}: {calls} call, {sent} bytes sent, {received} bytes received");
        assert_eq!(calls, 1, "{what}");
        assert!(sent < 1_024 && received < 16 << 10, "{what}: {sent} sent, {received} received");
    }
    assert!(nothing.2 < 128 && settled.2 < 128, "nothing is said of what has not changed");
}
