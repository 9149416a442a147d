# Sourced by quickstart.sh: the documents that travel with the demo pump's bundles. The bill of materials is made from what the
# bundle is built from: the crates of the executable, as cargo has resolved them, and the libraries among the files.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the stage's variables

# crates_of_pump: the crates that end up in demo-pump's executable, a line each, tab-separated: depth, name, version, licence; each
# below the one that needs it. Its source uses these two and the standard library; what they need is cargo's to say. Derive macros
# run in the compiler and are not in it.
crates_of_pump() {
    (cd "$repo" && cargo tree --locked -p anyhow -p clap -e normal,no-proc-macro --prefix depth --no-dedupe -f '{p}|{l}') |
        sed -n 's/^\([0-9]*\)\([^ ]*\) v\([^ |]*\)[^|]*|\(.*\)$/\1\t\2\t\3\t\4/p'
}

# libraries_of TREE: SHA-256 and path of each shared library in it whose path needs no care in JSON.
libraries_of() {
    (cd "$dir/trees/$1" && find . -type f \( -name '*.so' -o -name '*.so.*' \) ! -path '*[!a-zA-Z0-9._+/-]*' -print0 |
        LC_ALL=C sort -z | xargs -0r sha256sum) | sed -n 's/^\([0-9a-f]\{64\}\)  \.\//\1\t/p'
}

# write_sbom VERSION TREE: CycloneDX 1.6. No supplier is known of a crate or a file, and none is made up: `bundle inspect` says so.
write_sbom() {
    local version=$1 tree=$2 rust sha256 path
    rust=$(rustc --version | awk '{ print $2 }')
    printf '{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,'
    printf '"metadata":{"timestamp":"%s","authors":[{"name":"ada"}],"component":' "$stage_began"
    printf '{"type":"firmware","bom-ref":"pump","name":"pump","version":"%s","supplier":{"name":"Acme"},' "$version"
    printf '"purl":"pkg:generic/pump@%s"}},\n"components":[\n' "$version"
    printf '{"type":"library","bom-ref":"rust-std","name":"rust-std","version":"%s",' "$rust"
    printf '"supplier":{"name":"Rust Project"},"purl":"pkg:generic/rust-std@%s"}' "$rust"
    crates_of_pump | awk -F'\t' '!seen[$2 "@" $3]++ {
        printf ",\n{\"type\":\"library\",\"bom-ref\":\"%s@%s\",\"name\":\"%s\",\"version\":\"%s\",", $2, $3, $2, $3
        printf "\"purl\":\"pkg:cargo/%s@%s\",\"licenses\":[{\"expression\":\"%s\"}]}", $2, $3, $4
    }'
    while IFS=$'\t' read -r sha256 path; do
        printf ',\n{"type":"file","bom-ref":"%s","name":"%s",' "$path" "$path"
        printf '"hashes":[{"alg":"SHA-256","content":"%s"}]}' "$sha256"
    done < <(libraries_of "$tree")
    printf '\n],\n"dependencies":[\n'
    # What the pump needs itself, then what each crate needs.
    { printf 'pump\trust-std\n' && libraries_of "$tree" | sed 's/^[^\t]*/pump/' && crates_of_pump | awk -F'\t' '{
        at[$1] = $2 "@" $3
        print ($1 == 0 ? "pump" : at[$1 - 1]) "\t" at[$1]
    }'; } | LC_ALL=C sort -u | awk -F'\t' '
        $1 != of { printf "%s{\"ref\":\"%s\",\"dependsOn\":[\"%s\"", of == "" ? "" : "]},\n", $1, $2; of = $1; next }
        { printf ",\"%s\"", $2 }
        END { print "]}" }'
    printf ']}\n'
}

# write_vex VERSION: what the story's one vulnerability does to a version. OpenVEX 0.2.
write_vex() {
    local version=$1 status=fixed told='"impact_statement":"the alarm is as loud as the standard asks"'
    if [ "$version" = 1.0.0 ]; then
        status=affected told='"action_statement":"install 1.1.0; until then keep the pumps where their alarm is heard"'
    fi
    cat <<JSON
{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://acme.example/vex/pump-$version","author":"Acme",
 "timestamp":"$stage_began","version":1,"statements":[{"vulnerability":{"name":"ACME-2026-0001",
 "description":"the alarm can be turned down over the network"},"status":"$status",$told,
 "products":[{"@id":"pkg:generic/pump@$version"}]}]}
JSON
}

# write_mds2: a few answers of the form (ANSI/NEMA HN 1-2019), of what is true of the demo pump.
write_mds2() {
    cat <<'CSV'
question,answer,note
MPII-1,No,the pump keeps no personally identifiable information
ALOF-1,No,nobody logs in at the pump
AUDT-1,Yes,the agent keeps a chained log of its own; suture-agent log --verify
CSUP-1,Yes,updates are signed by manufacturer and hospital
NAUT-1,Yes,TLS 1.3 with certificates on both sides
SBOM-1,Yes,CycloneDX 1.6 with each bundle
CSV
}

# write_papers RELEASE-VERSION TREE: all of them, beside the bundle's declaration, and their part of it on standard output.
write_papers() {
    local version=$1 tree=$2 kind name
    echo "Infusion pump $version" >"$dir/specs/notes-$version.txt"
    write_sbom "$version" "$tree" >"$dir/specs/pump-$version.cdx.json"
    write_vex "$version" >"$dir/specs/pump-$version.openvex.json"
    write_mds2 >"$dir/specs/mds2-$version.csv"
    for kind in release-notes:notes-"$version".txt sbom:pump-"$version".cdx.json vex:pump-"$version".openvex.json \
        mds2:mds2-"$version".csv; do
        name=${kind#*:}
        printf '\n[[document]]\nkind = "%s"\npath = "%s"\n' "${kind%%:*}" "$name"
    done
}
