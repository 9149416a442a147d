#!/usr/bin/env bash
# One client, one incompressible payload, loopback, mutual TLS 1.3: Suture against nginx and curl, in alternating runs.
# Prints the medians of throughput and of CPU seconds (server and client together), and the ratios.
#
#   tests/load/bulk.sh [--gib N] [--runs N] [--dir D] [--debug]
#
# Suture is to be, beside nginx with HTTP/1.1, the fastest of the others: to /dev/null 1.7 times as fast with 0.6 of the CPU
# time; to a file, every chunk verified, 1.5 times as fast as curl and then openssl, 1.1 times as fast as curl alone. Exits 1
# where it is not.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/packages.sh
. "$repo/deploy/packages.sh"
# shellcheck source=deploy/ports.sh
. "$repo/deploy/ports.sh"
# shellcheck source=tests/load/stage.sh
. "$repo/tests/load/stage.sh"

gib=1 runs=5 dir='' profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --gib) gib=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --dir) dir=$2; shift 2 ;;
    --debug) profile=debug; shift ;;
    *) echo "usage: $0 [--gib N] [--runs N] [--dir D] [--debug]" >&2; exit 64 ;;
    esac
done

need cc=build-essential make=build-essential nginx=nginx-light curl=curl openssl=openssl
nginx=$(PATH="$PATH:/usr/sbin" command -v nginx)

# shellcheck disable=SC2034 # for stage.sh
mib=$((gib << 10))
stage_dir "$dir"
mkdir -p "$dir"/{nginx,tls}
stage_suture

echo "== nginx: P-256 certificates on both sides, TLS 1.3"
(
    cd "$dir/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
    for who in server client; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$who" -keyout $who.key -out $who.csr
        openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $who.pem \
            -extfile <(echo "subjectAltName=DNS:localhost")
    done
) 2>"$dir/openssl.log"
h1=$(free_port)
until h2=$(free_port) && [ "$h2" != "$h1" ]; do :; done
mkdir -p "$dir/www"
ln -f "$payload" "$dir/www/payload.bin"
# A master that is root gives its worker another user, who must reach the file.
user_line=''
[ "$(id -u)" -ne 0 ] || user_line="user root;"
cat >"$dir/nginx.conf" <<CONF
$user_line
daemon off;
worker_processes 1;
pid $dir/nginx/pid;
error_log $dir/nginx/error.log warn;
events { worker_connections 64; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    output_buffers 2 512k;
    sendfile_max_chunk 2m;
    client_body_temp_path $dir/nginx/body;
    proxy_temp_path $dir/nginx/proxy;
    fastcgi_temp_path $dir/nginx/fastcgi;
    uwsgi_temp_path $dir/nginx/uwsgi;
    scgi_temp_path $dir/nginx/scgi;
    ssl_protocols TLSv1.3;
    ssl_certificate $dir/tls/server.pem;
    ssl_certificate_key $dir/tls/server.key;
    ssl_client_certificate $dir/tls/ca.pem;
    ssl_verify_client on;
    # Whole records; and the kernel's TLS, which makes sendfile real, where the kernel has it.
    ssl_buffer_size 16k;
    ssl_conf_command Options KTLS;
    root $dir/www;
    server { listen 127.0.0.1:$h1 ssl; server_name localhost; }
    server { listen 127.0.0.1:$h2 ssl http2; server_name localhost; http2_chunk_size 16k; }
}
CONF
"${ahead[@]}" "$nginx" -p "$dir/nginx" -e "$dir/nginx/error.log" -c "$dir/nginx.conf" &
nginx_pid=$!
pids+=("$nginx_pid")
until_true "nginx" listens "$h1"
nginx_worker=$(cat "/proc/$nginx_pid/task/$nginx_pid/children")

curl_with() {
    local version=$1 port=$2
    shift 2
    "${ahead[@]}" curl --silent --show-error --fail "--http$version" --tlsv1.3 --cacert "$dir/tls/ca.pem" --cert "$dir/tls/client.pem" \
        --key "$dir/tls/client.key" "https://localhost:$port/payload.bin" "$@"
}
out=$dir/received.bin
suture() { "${ahead[@]}" "$bin/bulk-client" --home "$dir/home" --index "$index" "$@"; }
suture_null() { suture; }
suture_file() { suture --output "$out"; }
nginx_h1_null() { curl_with 1.1 "$h1" --output /dev/null; }
nginx_h2_null() { curl_with 2 "$h2" --output /dev/null; }
nginx_h1_file() { curl_with 1.1 "$h1" --output "$out"; }
nginx_h1_hash() { nginx_h1_file && "${ahead[@]}" openssl sha256 "$out" >/dev/null; }
server_pids() { case "$1" in suture_*) echo "$suture_pid" ;; *) echo "$nginx_worker" ;; esac; }

# cpu_ticks PID...: user and system time so far, in clock ticks.
cpu_ticks() {
    local pid sum=0 fields
    for pid in "$@"; do
        # The name, in brackets, may hold spaces: count from behind it.
        read -ra fields <<<"$(sed 's/.*) //' "/proc/$pid/stat")"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}
hertz=$(getconf CLK_TCK)

# measure NAME: one run; appends "MB/s CPU-seconds" to its results.
measure() {
    local name=$1 before after timed
    # shellcheck disable=SC2046
    before=$(cpu_ticks $(server_pids "$name"))
    TIMEFORMAT='%R %U %S'
    { timed=$({ time "$name" 2>&3; } 2>&1); } 3>&2
    # shellcheck disable=SC2046
    after=$(cpu_ticks $(server_pids "$name"))
    echo "$timed $before $after" | awk -v bytes="$((gib << 30))" -v hertz="$hertz" \
        '{ printf "%.1f %.2f\n", bytes / $1 / 1e6, $2 + $3 + ($5 - $4) / hertz }' >>"$dir/results/$name"
    rm -f "$out"
}
all=(suture_null nginx_h1_null nginx_h2_null suture_file nginx_h1_file nginx_h1_hash)
echo "== warming up, then $runs runs of each, by turns"
for name in "${all[@]}"; do measure "$name"; done
cmp_ok=1
suture_file && cmp -s "$payload" "$out" || cmp_ok=0
rm -f "$out" "$dir"/results/*
[ "$cmp_ok" = 1 ] || { echo "what Suture delivered is not what was published" >&2; exit 2; }
for ((run = 0; run < runs; run++)); do
    for name in "${all[@]}"; do measure "$name"; done
done

# of NAME COLUMN: the median. ratio A B COLUMN: of the medians.
of() { median "$dir/results/$1" "$2"; }
ratio() { awk -v a="$(of "$1" "$3")" -v b="$(of "$2" "$3")" 'BEGIN { printf "%.2f", a / b }'; }
row() { printf '%-46s %9s %8s %8s\n' "$1" "$(of "$2" 1)" "$(ratio "$2" nginx_h1_null 1)" "$(of "$2" 2)"; }
ktls=no
grep -q '^TlsTxSw[[:space:]]*[1-9]' /proc/net/tls_stat 2>/dev/null && ktls=yes
printf '\n%s GiB, mutual TLS 1.3, loopback, one client; medians of %s runs; kernel TLS for nginx: %s\n' "$gib" "$runs" "$ktls"
printf '%-46s %9s %8s %8s\n' "" "MB/s" "ratio" "CPU s"
row "nginx h1 + curl, to /dev/null" nginx_h1_null
row "nginx h2 + curl, to /dev/null" nginx_h2_null
row "suture, to /dev/null" suture_null
row "nginx h1 + curl -o" nginx_h1_file
row "nginx h1 + curl -o, then openssl sha256" nginx_h1_hash
row "suture, every chunk verified, to a file" suture_file

echo
target "to /dev/null, beside nginx h1 + curl" "$(ratio suture_null nginx_h1_null 1)" at_least 1.7
target "CPU time of both sides, beside nginx h1 + curl" "$(ratio suture_null nginx_h1_null 2)" at_most 0.6
target "verified, to a file, beside curl -o, then openssl sha256" "$(ratio suture_file nginx_h1_hash 1)" at_least 1.5
target "verified, to a file, beside curl -o" "$(ratio suture_file nginx_h1_file 1)" at_least 1.1
exit "$failed"
