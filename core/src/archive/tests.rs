use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Item = (Entry, Vec<u8>);

fn write(items: &[Item]) -> Result<Vec<u8>, ArchiveError> {
    let mut w = Writer::new(Vec::new())?;
    for (entry, content) in items {
        match &entry.kind {
            Kind::Directory => w.directory(&entry.path, entry.mode)?,
            Kind::File { size } => w.file(&entry.path, entry.mode, *size, &content[..])?,
            Kind::Link { target } => w.link(&entry.path, target)?,
        }
    }
    w.finish()
}

fn read(bytes: &[u8]) -> Result<Vec<Item>, ArchiveError> {
    let mut r = Reader::new(bytes)?;
    let mut out = Vec::new();
    while let Some(entry) = r.next_entry()? {
        let mut content = Vec::new();
        r.copy_content(&mut content)?;
        out.push((entry, content));
    }
    Ok(out)
}

fn dir(path: &str) -> Item {
    (Entry { path: path.into(), mode: 0o755, kind: Kind::Directory }, Vec::new())
}

fn file(path: &str, content: &[u8]) -> Item {
    let kind = Kind::File { size: content.len() as u64 };
    (Entry { path: path.into(), mode: 0o644, kind }, content.to_vec())
}

fn link(path: &str, target: &str) -> Item {
    (Entry { path: path.into(), mode: 0o777, kind: Kind::Link { target: target.into() } }, Vec::new())
}

fn sample() -> Vec<Item> {
    vec![
        dir("a"),
        file("a/one", b"1"),
        dir("a/z"),
        link("a/z/up", "../../etc"),
        file("a-b", b""),
        dir("b"),
        file("b/x", &[7; 300]),
    ]
}

#[test]
fn a_tree_survives_and_directories_come_before_their_longer_named_siblings() {
    let bytes = write(&sample()).unwrap();
    assert_eq!(read(&bytes).unwrap(), sample());
    assert!(write(&[]).is_ok_and(|b| read(&b).unwrap().is_empty()));
}

#[test]
fn what_could_leave_the_directory_or_be_read_in_two_ways_is_refused() {
    let long = "n".repeat(MAX_ARCHIVE_NAME_BYTES + 1);
    let deep = vec!["d"; MAX_ARCHIVE_DEPTH + 1].join("/");
    let bad: Vec<Vec<Item>> = vec![
        vec![file("/etc/passwd", b"")],
        vec![file("..", b"")],
        vec![dir("a"), file("a/../b", b"")],
        vec![dir("a"), file("a/./b", b"")],
        vec![dir("a"), file("a//b", b"")],
        vec![dir("a"), file("a/", b"")],
        vec![file("", b"")],
        vec![file("a\0b", b"")],
        vec![file("a/b", b"")],
        // Through a link or a file that stands where a directory was expected.
        vec![link("a", "/etc"), file("a/passwd", b"")],
        vec![file("a", b""), file("a/b", b"")],
        vec![dir("a"), link("a/l", "/etc"), file("a/l/passwd", b"")],
        // Twice, under the same or another kind.
        vec![file("a", b"1"), file("a", b"2")],
        vec![dir("a"), dir("a")],
        vec![dir("a"), file("a/x", b""), link("a", "b")],
        // Out of order; back into a directory that was left.
        vec![file("b", b""), file("a", b"")],
        vec![dir("a"), file("a-b", b""), file("a/x", b"")],
        vec![link("a", "")],
        vec![link("a", "x\0y")],
        vec![file(&long, b"")],
        vec![file(&deep, b"")],
    ];
    for items in bad {
        assert!(write(&items).is_err(), "{items:?}");
        // A hostile writer does not ask: the reader has to see it too.
        assert!(read(&unchecked(&items)).is_err(), "{items:?}");
    }
}

/// What [`write`] would write if it checked nothing.
fn unchecked(items: &[Item]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (entry, content) in items {
        let kind = match entry.kind {
            Kind::Directory => DIRECTORY,
            Kind::File { .. } => FILE,
            Kind::Link { .. } => LINK,
        };
        out.push(kind);
        out.extend_from_slice(&entry.mode.to_le_bytes());
        push_text(&mut out, &entry.path).unwrap();
        match &entry.kind {
            Kind::Directory => {}
            Kind::File { size } => out.extend_from_slice(&size.to_le_bytes()),
            Kind::Link { target } => push_text(&mut out, target).unwrap(),
        }
        out.extend_from_slice(content);
    }
    out.push(END);
    out
}

#[test]
fn set_user_id_does_not_pass() {
    for mode in [0o4755, 0o2755, 0o1777, 0o10644] {
        let mut items = vec![file("a", b"")];
        items[0].0.mode = mode;
        assert!(write(&items).is_err());
        assert!(read(&unchecked(&items)).is_err());
    }
}

#[test]
fn every_truncation_and_flip_is_refused_or_another_tree_in_full() {
    let bytes = write(&sample()).unwrap();
    for n in 0..bytes.len() {
        assert!(read(&bytes[..n]).is_err(), "cut at {n}");
    }
    assert!(matches!(read(&[&bytes[..], &[0]].concat()), Err(ArchiveError::Trailing)));
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << bit;
            if let Ok(items) = read(&bad) {
                assert_eq!(write(&items).unwrap(), bad, "byte {i} bit {bit}");
            }
        }
    }
}

#[test]
fn content_that_grew_or_shrank_is_an_error_and_unread_content_is_passed_over() {
    let mut w = Writer::new(Vec::new()).unwrap();
    assert!(matches!(w.file("a", 0o644, 3, &b"1234"[..]), Err(ArchiveError::Size { .. })));
    let mut w = Writer::new(Vec::new()).unwrap();
    assert!(matches!(w.file("a", 0o644, 3, &b"12"[..]), Err(ArchiveError::Size { .. })));

    let bytes = write(&sample()).unwrap();
    let mut r = Reader::new(&bytes[..]).unwrap();
    let mut paths = Vec::new();
    while let Some(entry) = r.next_entry().unwrap() {
        paths.push(entry.path);
    }
    assert_eq!(paths.len(), sample().len());
}

#[derive(Debug, Clone)]
enum Node {
    Directory(BTreeMap<String, Node>),
    File(Vec<u8>),
    Link(String),
}

fn nodes() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Node::File),
        "[a-z./]{1,9}".prop_map(Node::Link),
    ];
    let node = leaf.prop_recursive(4, 40, 6, |inner| {
        prop::collection::btree_map("[a-c\\-0\u{e9}]{1,3}", inner, 0..6).prop_map(Node::Directory)
    });
    prop::collection::btree_map("[a-c\\-0\u{e9}]{1,3}", node, 0..6)
}

fn list(nodes: &BTreeMap<String, Node>, above: &str, out: &mut Vec<Item>) {
    for (name, node) in nodes {
        let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
        match node {
            Node::File(content) => out.push(file(&path, content)),
            Node::Link(target) => out.push(link(&path, target)),
            Node::Directory(inner) => {
                out.push(dir(&path));
                list(inner, &path, out);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_sorted_walk_is_a_tree_and_survives(nodes in nodes()) {
        let mut items = Vec::new();
        list(&nodes, "", &mut items);
        prop_assert_eq!(read(&write(&items).unwrap()).unwrap(), items);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[&MAGIC[..], &bytes].concat());
    }
}
