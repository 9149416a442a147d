//! What each type says of letter case: the registered types' definitions in package-url/purl-spec, `types/*-definition.json`.
//! A type that is not registered is taken as it is.

/// The namespace as its type has it.
pub(super) fn namespace(kind: &str, segment: String) -> String {
    match kind {
        "alpm" | "apk" | "bitbucket" | "brew" | "composer" | "deb" | "github" | "hex" | "luarocks" | "qpkg" | "rpm"
        | "vscode-extension" | "yocto" => segment.to_lowercase(),
        _ => segment,
    }
}

/// The name as its type has it.
pub(super) fn name(kind: &str, name: String) -> String {
    match kind {
        "alpm" | "apk" | "bitbucket" | "bitnami" | "brew" | "chrome-extension" | "composer" | "deb" | "github"
        | "hex" | "luarocks" | "oci" | "otp" | "vscode-extension" => name.to_lowercase(),
        "pypi" => name.to_lowercase().replace('_', "-"),
        "pub" => {
            let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
            name.to_lowercase().chars().map(plain).collect()
        }
        _ => name,
    }
}

/// The version as its type has it.
pub(super) fn version(kind: &str, version: String) -> String {
    match kind {
        "huggingface" | "oci" | "pypi" | "vscode-extension" => version.to_lowercase(),
        _ => version,
    }
}
