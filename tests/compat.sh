#!/usr/bin/env bash
# Whether programs of an older revision and these understand one another: builds the older ones and plays the quickstart's whole
# story with a mixture, three times. For maintainers, before a release; it costs a build.
#   tests/compat.sh REVISION [WAY...]
# WAY: agent (older agents at this server), server (these agents at an older server), ctl (an older suturectl at this server). All
# three by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
[ $# -gt 0 ] || {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 64
}
revision=$(git rev-parse --verify "$1^{commit}")
shift
[ $# -gt 0 ] || set -- agent server ctl
# What is built of the older revision stays there for the next time.
target=${SUTURE_COMPAT_TARGET:-${CARGO_TARGET_DIR:-$root/target}/compat}
programs=(suture-server suture-agent suture-boot suturectl demo-pump cutting-proxy pick)

scratch=$(mktemp -d)
trap 'git worktree remove --force "$scratch/older" 2>/dev/null || true; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$scratch/older" "$revision"

# build SOURCES TARGET
build() {
    (cd "$1" && CARGO_TARGET_DIR=$2 cargo build --quiet --locked -p suture-server -p suture-agent -p suture-ctl -p suture-tests --bins)
}
echo "building $(git log -1 --format='%h of %cs, %s' "$revision")"
build "$scratch/older" "$target"
echo "building these"
build "$root" "${CARGO_TARGET_DIR:-$root/target}"
mkdir -p "$scratch/old" "$scratch/new"
for program in "${programs[@]}"; do
    cp "$target/debug/$program" "$scratch/old/"
    cp "${CARGO_TARGET_DIR:-$root/target}/debug/$program" "$scratch/new/"
done

# play WAY STORY REST OTHER PROGRAM...: the story of one revision, with these programs of the other.
play() {
    local way=$1 sources=$2 rest=$3 other=$4 stage=$scratch/stage-$1
    shift 4
    mkdir -p "$stage/deploy" "$stage/programs"
    cp "$scratch/$rest"/* "$stage/programs/"
    local program
    for program in "$@"; do
        cp "$scratch/$other/$program" "$stage/programs/"
    done
    cp "$sources"/deploy/*.sh "$stage/deploy/"
    # The story's bill of material is of the story's own sources.
    ln -s "$sources"/{Cargo.toml,Cargo.lock,core,proto,server,agent,ctl,tests} "$stage/"
    # Its programs are built already.
    # shellcheck disable=SC2016 # the stage's own path
    printf 'build_programs() { PATH=%q:$PATH; }\n' "$stage/programs" >>"$stage/deploy/stage.sh"
    echo "== $way: $* of the $other revision, the rest and the story of the $rest one"
    (cd "$stage" && deploy/quickstart.sh --debug)
}

failed=()
for way in "$@"; do
    case "$way" in
    agent) play agent "$root" new old suture-agent suture-boot || failed+=(agent) ;;
    server) play server "$scratch/older" old new suture-agent suture-boot || failed+=(server) ;;
    ctl) play ctl "$scratch/older" new old suturectl pick demo-pump cutting-proxy || failed+=(ctl) ;;
    *) echo "no such way: $way" >&2 && exit 64 ;;
    esac
done
[ ${#failed[@]} -eq 0 ] || {
    echo "not understood: ${failed[*]}" >&2
    exit 1
}
echo "understood: $*"
