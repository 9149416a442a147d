//! A full disk: the real server on a file system of its own that is filled to the last block, and, where nobody may have
//! one, under a limit on the size of its files.

use std::path::Path;

use suture_tests::world::{Disk, Kind, Operator, Program, Spec, World, not_run, text};

use super::failed;

/// Rows enough that the database must grow.
const MANY: usize = 5_000;

async fn releases(ada: &Operator) -> Vec<u64> {
    let bundles = ada.json(&["bundle", "list"]).await.unwrap();
    bundles.as_array().unwrap().iter().map(|b| b["release"].as_u64().unwrap()).collect()
}

async fn entries(who: &Operator) -> u64 {
    who.json(&["audit", "verify"]).await.unwrap()["entries"].as_u64().unwrap()
}

/// Nothing lies about that was begun and not ended.
fn nothing_unfinished(data_dir: &Path) {
    let left: Vec<_> = std::fs::read_dir(data_dir.join("objects/.unfinished")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A world whose server is down and has published release 1, and a release 2 that is signed and waits.
async fn prepared(kind: Kind) -> Option<(World, Operator, Operator, String)> {
    let mut world = World::start(kind).await?;
    let ada = world.manufacturer().await;
    world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.build(&ada, Spec { release: 2, ..Spec::default() }).await;
    ada.run(&["bundle", "sign", text(&second.dir)]).await.unwrap();
    let kim = world.hospital(&ada).await;
    world.stop_server().await;
    let dir = text(&second.dir).to_owned();
    Some((world, ada, kim, dir))
}

/// Publishing fails by name, changes nothing, and succeeds once there is room.
async fn publish<'a>(
    program: &Program,
    ada: &Operator,
    second: &str,
    shorten: impl FnOnce() -> Box<dyn FnOnce() + 'a>,
) {
    let before = entries(ada).await;
    let make_room = shorten();
    failed(ada.run(&["bundle", "publish", second]).await, 3, &["upload_chunks", "the object store is full"]);
    // The server still answers.
    assert_eq!(releases(ada).await, [1]);
    assert_eq!(entries(ada).await, before);
    nothing_unfinished(program.data_dir());
    make_room();
    ada.run(&["bundle", "publish", second]).await.unwrap();
    assert_eq!(releases(ada).await, [1, 2]);
    assert_eq!(entries(ada).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_half_done_and_the_same_works_once_there_is_room() {
    // Only with SQLite: in the name space of its own disk the server may not reach a PostgreSQL of another user's. The
    // limit on files below is tried with both.
    let Some((world, ada, kim, second)) = prepared(Kind::Sqlite).await else { return };
    let Some(program) = Program::serve(&world, Disk::Own(48)) else {
        return not_run("no file system of its own: unshare is refused; the tests below have a limit on files instead");
    };
    publish(&program, &ada, &second, || {
        let filler = program.fill_disk();
        Box::new(move || std::fs::remove_file(filler).unwrap())
    })
    .await;
    database(&program, &world, &kim).await;
    assert!(program.stop().success());
}

/// The database on the full disk: a change that needs room is not made, not even in part.
async fn database(program: &Program, world: &World, kim: &Operator) {
    let file = world.path("devices.csv");
    let rows: String = (0..MANY).map(|i| format!("pump-{i},pump,rev-a,icu,{}\n", "9".repeat(200))).collect();
    std::fs::write(&file, format!("id,product,hardware,ward,serial\n{rows}")).unwrap();
    let import = ["device", "import", "--csv", text(&file)];
    let before = entries(kim).await;
    let filler = program.fill_disk();
    failed(kim.run(&import).await, 3, &["import_devices", "database's disk is full; nothing was changed"]);
    assert_eq!(kim.json(&["device", "list"]).await.unwrap().as_array().unwrap().len(), 0);
    assert_eq!(entries(kim).await, before);
    std::fs::remove_file(filler).unwrap();
    kim.run(&import).await.unwrap();
    assert_eq!(kim.json(&["device", "list"]).await.unwrap().as_array().unwrap().len(), MANY);
    assert_eq!(entries(kim).await, before + 1);
}

async fn under_a_limit(kind: Kind) {
    let Some((world, ada, _, second)) = prepared(kind).await else { return };
    let program = Program::serve(&world, Disk::Shared).unwrap();
    publish(&program, &ada, &second, || {
        // Room for the database's log, none for a pack of 1 MiB.
        program.limit_files(Some(700 << 10));
        Box::new(|| program.limit_files(None))
    })
    .await;
    assert!(program.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_limit_on_files_nothing_is_half_done_and_the_same_works_without_it() {
    under_a_limit(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_limit_on_files_with_the_database_elsewhere() {
    under_a_limit(Kind::Postgres).await;
}
