use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn passphrase_file(dir: &Path, text: &str) -> Passphrases {
    let path = dir.join(format!("{}.pass", text.len()));
    std::fs::write(&path, format!("{text}\n")).unwrap();
    Passphrases::from(Some(path))
}

#[test]
fn a_key_is_encrypted_private_and_opens_with_its_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("home")).unwrap();
    let keys = Keys::of(&home);
    let pins = Pins::from(None);
    let public = keys.create(&name("release"), &Zeroizing::new([5; 32]), Some("correct horse")).unwrap();
    let path = home.directory().join("keys/release.pem");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&path).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    let right = passphrase_file(dir.path(), "correct horse");
    let wrong = passphrase_file(dir.path(), "battery");
    assert_eq!(keys.open(&name("release"), &right, &pins).unwrap().public(), public);
    let failure = keys.open(&name("release"), &wrong, &pins).err().unwrap().to_text();
    assert!(failure.contains("passphrase does not open") && !failure.contains("battery"), "{failure}");
    assert!(keys.create(&name("release"), &Zeroizing::new([6; 32]), None).is_err(), "never overwritten");
    assert_eq!(keys.public(&name("release")).unwrap(), public);

    keys.change_passphrase(&name("release"), &right, || Ok(Some(Zeroizing::new("battery".to_owned())))).unwrap();
    assert_eq!(keys.open(&name("release"), &wrong, &pins).unwrap().public(), public);
    assert!(keys.open(&name("release"), &right, &pins).is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn keys_are_listed_by_name_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let keys = Keys::of(&home);
    keys.create(&name("b"), &Zeroizing::new([1; 32]), None).unwrap();
    keys.create(&name("a"), &Zeroizing::new([2; 32]), Some("p")).unwrap();
    let listed: Vec<_> = keys.list().unwrap().0.into_iter().map(|k| (k.name, k.place.to_text())).collect();
    assert_eq!(
        listed,
        [("a".to_owned(), "encrypted file".to_owned()), ("b".to_owned(), "file, NOT encrypted".to_owned())]
    );
    let prompt = (Passphrases::from(None), Pins::from(None));
    let failure = keys.open(&name("c"), &prompt.0, &prompt.1).err().unwrap().to_text();
    assert!(failure.contains("no key named c"), "{failure}");
    for bad in ["../x", "", "A", "a/b"] {
        assert!(bad.parse::<KeyName>().is_err());
    }
}

#[test]
fn a_name_that_is_both_a_file_and_a_tokens_key_is_neither() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let keys = Keys::of(&home);
    let public = keys.create(&name("root"), &Zeroizing::new([1; 32]), None).unwrap();
    let record = format!(
        r#"{{"format":1,"module":"/nowhere/p11.so","token":"t","serial":"1","id":"aa","public_key":"{public}"}}"#
    );
    std::fs::write(home.path("keys/root.p11").unwrap(), record).unwrap();
    for failure in [keys.public(&name("root")).err(), keys.list().unwrap().1.pop()] {
        let failure = failure.unwrap().to_text();
        assert!(failure.contains("both there") && failure.contains("try: move one"), "{failure}");
    }
    std::fs::remove_file(home.path("keys/root.pem").unwrap()).unwrap();
    assert_eq!(keys.public(&name("root")).unwrap(), public, "no token need be there for that");
    assert!(keys.create(&name("root"), &Zeroizing::new([1; 32]), None).is_err(), "the name is taken");
    let failure = keys.open(&name("root"), &Passphrases::from(None), &Pins::from(None)).err().unwrap().to_text();
    assert!(failure.contains("cannot load the PKCS#11 module /nowhere/p11.so"), "{failure}");
    let failure = keys.change_passphrase(&name("root"), &Passphrases::from(None), || Ok(None)).unwrap_err().to_text();
    assert!(failure.contains("has no passphrase") && failure.contains("--change-pin"), "{failure}");
}

/// Found: two commands at once, of which each had found the name free: the second one's key took the place of the first one's, of which
/// a root had been signed by then.
#[test]
fn of_two_that_make_a_key_of_one_name_at_once_one_fails_and_the_others_pair_stays() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    for round in 0..4 {
        let name = name(&format!("root-{round}"));
        let make = |seed: u8| Keys::of(&home).create(&name, &Zeroizing::new([seed; 32]), Some("correct horse"));
        let made = std::thread::scope(|scope| {
            let both = [1, 2].map(|seed| scope.spawn(move || make(seed)));
            both.map(|one| one.join().unwrap())
        });
        let mut made: Vec<_> = made.into_iter().filter_map(Result::ok).collect();
        let (made, others) = (made.pop().unwrap(), made.len());
        assert_eq!(others, 0, "both were made");
        let opened = Keys::of(&home).open(&name, &passphrase_file(dir.path(), "correct horse"), &Pins::from(None));
        assert_eq!((opened.unwrap().public(), Keys::of(&home).public(&name).unwrap()), (made, made));
    }
}

/// Found: one key that cannot be read kept all of them from being listed.
#[test]
fn a_key_that_cannot_be_read_keeps_no_other_from_being_listed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let keys = Keys::of(&home);
    for key in ["a", "b"] {
        keys.create(&name(key), &Zeroizing::new([1; 32]), None).unwrap();
    }
    std::fs::remove_file(dir.path().join("keys/a.pub")).unwrap();
    std::fs::write(dir.path().join("keys/c.p11"), "{").unwrap();
    let (listed, unreadable) = keys.list().unwrap();
    assert_eq!(listed.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let mut why: Vec<_> = unreadable.into_iter().map(|failure| failure.message).collect();
    why.sort();
    assert!(why[0].contains("a.pub, its public half") && why[1].contains("c.p11 is damaged"), "{why:?}");
}
