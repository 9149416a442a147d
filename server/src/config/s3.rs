//! Objects in a bucket.

use rusty_s3::Credentials;

use super::{AUTHORITIES, Written, directory, proxy};
use crate::blobs::s3::place::{self, Endpoint, Keys};
use crate::blobs::{S3Place, S3Way};

/// Where keys are found that the configuration does not name: the names that every tool for S3 knows.
pub(super) const KEY_VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Settings that name a bucket. The others say how it is used, and their defaults may stand in a file without one.
const NAMING: [&str; 5] = ["s3_endpoint", "s3_bucket", "s3_prefix", "s3_access_key", "s3_secret_key_file"];

/// The bucket, where one is named; none where something is wrong with it, which is a fault.
pub(super) fn of(w: &mut Written) -> Option<Option<(S3Place, S3Way)>> {
    let is_named = NAMING.iter().any(|key| w.says(key));
    let plain = w.or("s3_allow_plain_http", "false", boolean);
    let region = w.or("s3_region", "us-east-1", place::region);
    let prefix = w.or("s3_prefix", "", place::prefix);
    let authorities = w.or("s3_authorities", AUTHORITIES, directory);
    let proxy = w.or("s3_proxy", "", proxy);
    if !is_named {
        // An empty text names nothing.
        for key in NAMING {
            let _: Option<()> = w.or(key, "", |_| Some(()));
        }
        w.or("s3_path_style", "true", boolean)?;
        return plain.and(region).and(prefix).and(authorities).and(proxy).map(|_| None);
    }
    let endpoint = w.need("s3_endpoint", |text| {
        Endpoint::parse(text).filter(|endpoint| endpoint.is_private() || plain == Some(true))
    });
    let bucket = w.need("s3_bucket", place::bucket);
    let keys = keys(w);
    // All of it together, which an IP address with a bucket's name in front of it would not be.
    let place = w.or("s3_path_style", "true", |text| {
        let (is_path, region, bucket) = (boolean(text)?, region.clone(), bucket.clone());
        match (&endpoint, region.zip(bucket), prefix.clone().zip(keys.clone())) {
            (Some(endpoint), Some(names), Some((prefix, keys))) => {
                S3Place::new(endpoint, names, is_path, prefix, keys).map(Some)
            }
            _ => Some(None),
        }
    });
    // What is missing of the place is a fault of its own.
    Some(Some((place??, S3Way { authorities: authorities?, proxy: proxy? })))
}

/// An access key with its secret key's file, or both from the environment.
fn keys(w: &mut Written) -> Option<Keys> {
    if w.says("s3_access_key") || w.says("s3_secret_key_file") {
        let key = w.need("s3_access_key", place::access_key);
        let file = w.need("s3_secret_key_file", |text| directory(text).filter(|_| !text.is_empty()));
        return Some(Keys::File(key?, file?));
    }
    for key in ["s3_access_key", "s3_secret_key_file"] {
        let _: Option<()> = w.or(key, "", |_| Some(()));
    }
    let [key, secret, token] = KEY_VARIABLES.map(|name| w.given(name));
    match (key, secret, token) {
        (Some(key), Some(secret), Some(token)) => Some(Keys::Given(Credentials::new_with_token(key, secret, token))),
        (Some(key), Some(secret), None) => Some(Keys::Given(Credentials::new(key, secret))),
        _ => w.need("s3_access_key", |_| None),
    }
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Faults, Settings};
    use super::*;

    const REST: &[(&str, &str)] =
        &[("data_dir", "/srv"), ("address", "https://s.example:1"), ("trust_domain", "acme.example")];
    const KEYS: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    const BUCKET: &[(&str, &str)] = &[("s3_endpoint", "https://s3.example"), ("s3_bucket", "suture")];

    fn settings(file: &[&[(&str, &str)]], env: &[(&str, &str)]) -> Result<Settings, Faults> {
        let mut written = Written::default();
        let text: String = file.concat().iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        written.file(std::path::Path::new("server.toml"), &text);
        written.environment(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Settings::of(written)
    }

    fn faults(file: &[&[(&str, &str)]], env: &[(&str, &str)]) -> (usize, String) {
        let faults = settings(file, env).unwrap_err();
        (faults.0.len(), faults.to_string())
    }

    #[test]
    fn without_a_bucket_objects_are_in_the_directory_and_empty_texts_name_none() {
        assert!(settings(&[REST], KEYS).unwrap().s3.is_none());
        let empty = NAMING.map(|key| (key, ""));
        assert!(settings(&[REST, &empty, &[("s3_path_style", "true")]], &[]).unwrap().s3.is_none());
        let (count, text) = faults(&[REST, &[("s3_path_style", "perhaps"), ("s3_region", "a b")]], &[]);
        assert!(count == 2 && text.contains("s3_path_style") && text.contains("s3_region"), "{text}");
    }

    #[test]
    fn a_bucket_and_keys_from_the_environment_are_enough_and_no_secret_is_shown() {
        let settings = settings(&[REST, BUCKET], &[KEYS, &[("AWS_SESSION_TOKEN", "swordfish")]].concat()).unwrap();
        let text = format!("{settings:?}");
        assert!(text.contains("bucket suture at https://s3.example"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
    }

    #[test]
    fn what_is_missing_or_wrong_of_a_bucket_is_named_at_once() {
        let (count, text) = faults(&[REST, &[("s3_prefix", "../x"), ("s3_bucket", "UPPER")]], &[]);
        for part in
            ["s3_prefix = \"../x\"", "s3_bucket = \"UPPER\"", "s3_endpoint is missing", "s3_access_key is missing"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(count, 4, "{text}");
        let (count, text) = faults(&[REST, BUCKET, &[("s3_access_key", "AKIA")]], KEYS);
        assert!(count == 1 && text.contains("s3_secret_key_file is missing"), "{text}");
        let (count, text) = faults(&[REST, BUCKET], &KEYS[..1]);
        assert!(count == 1 && text.contains("AWS_SECRET_ACCESS_KEY"), "{text}");
    }

    #[test]
    fn others_may_listen_only_where_that_is_said() {
        let open = [("s3_endpoint", "http://10.0.0.1:9000"), ("s3_bucket", "suture")];
        let (count, text) = faults(&[REST, &open], KEYS);
        assert!(count == 1 && text.contains("s3_allow_plain_http"), "{text}");
        assert!(settings(&[REST, &open, &[("s3_allow_plain_http", "true")]], KEYS).unwrap().s3.is_some());
        let here = [("s3_endpoint", "http://127.0.0.1:9000"), ("s3_bucket", "suture")];
        assert!(settings(&[REST, &here], KEYS).unwrap().s3.is_some());
        let (count, text) = faults(&[REST, &here, &[("s3_path_style", "false")]], KEYS);
        assert!(count == 1 && text.contains("s3_path_style"), "{text}");
    }
}
