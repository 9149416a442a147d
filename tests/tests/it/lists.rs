//! Lists that are longer than one answer, as who asks for them sees them.

use suture_core::clock::Clock as _;
use suture_server::store::Store;
use suture_tests::world::{Kind, World};

#[tokio::test]
async fn a_list_of_many_pages_is_shown_whole() {
    let Some(world) = World::start(Kind::Sqlite).await else { return };
    let ada = world.manufacturer().await;
    let store = Store::open(world.database()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    for n in 0..2_100 {
        let hdo = format!("hospital-{n:04}").parse().unwrap();
        assert!(tx.insert_hdo(&hdo, "A hospital", world.clock.now()).await.unwrap());
    }
    tx.commit().await.unwrap();
    store.close().await;
    let listed = ada.json(&["hdo", "list"]).await.unwrap();
    let listed: Vec<_> = listed.as_array().unwrap().iter().map(|hdo| hdo["id"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), 2_100);
    assert!(listed.is_sorted());
}
