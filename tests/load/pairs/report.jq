# From what pairs.sh collected, one JSON document: per pair its sources and what each method took; then the limits.
def pairs: ["a", "b", "c", "d"];
def bytes($m; $p): .pairs[$p].methods[$m].bytes // null;
# One method against another on every pair; null unless all four have both.
def ratios($ours; $peer):
  . as $report | [pairs[] as $p | $report | [bytes($ours; $p), bytes($peer; $p)]]
  | if any(.[]; any(.[]; . == null)) then null else map(.[0] / .[1]) end;
def geometric: if . == null then null else (map(log) | add / length | exp) end;
def mean: if . == null then null else add / length end;
def greatest: if . == null then null else max end;
# What a method took on every pair, beside what the pair is; null unless all four were measured.
def on_all($m):
  . as $report | [pairs[] as $p | $report.pairs[$p] | select(.methods[$m]) | { new: .new, took: .methods[$m] }]
  | if length < 4 then null else . end;
def greatest(f): if . == null or any(.[]; f == null) then null else map(f) | max end;
def least(f): if . == null or any(.[]; f == null) then null else map(f) | min end;
def mib: if . == null then null else . / 1048576 end;
def limit($what; $value; $most):
  { what: $what, value: $value, at_most: $most,
    verdict: (if $value == null then "not measured" elif $value <= $most then "PASS" else "MISS" end) };
def at_least($what; $value; $least):
  { what: $what, value: $value, at_least: $least,
    verdict: (if $value == null then "not measured" elif $value >= $least then "PASS" else "MISS" end) };

(reduce .[] as $row ({}; if $row.method then .[$row.pair].methods[$row.method] = $row.result
  else .[$row.pair] += ($row | del(.pair)) end)) as $pairs
| { pairs: $pairs }
| . as $report
| .limits = [
    limit("bytes, delta to bsdiff, geometric mean"; ratios("delta"; "bsdiff") | geometric; 0.8),
    limit("bytes, delta to bsdiff, worst pair"; ratios("delta"; "bsdiff") | greatest; 1.0),
    limit("bytes, delta to casync, mean"; ratios("delta"; "casync") | mean; 0.2),
    limit("bytes, delta to casync, worst pair"; ratios("delta"; "casync") | greatest; 0.25),
    limit("bytes, delta to rsync -z, mean"; ratios("delta"; "rsync") | mean; 0.2),
    limit("bytes, delta to rsync -z, worst pair"; ratios("delta"; "rsync") | greatest; 0.25),
    # A server makes the delta from any version that a device names and that it holds: the same delta, only later.
    limit("bytes, delta on demand to casync, worst pair"; ratios("delta"; "casync") | greatest; 0.4),
    limit("bytes, from nothing to zstd -19, worst pair"; ratios("delta_nothing"; "zstd") | greatest; 1.1),
    limit("memory, applying a delta, worst pair, MiB";
      on_all("delta") | greatest(.took.apply.peak_bytes | mib); 16),
    at_least("output of a CPU second, applying a delta, worst pair, MB";
      on_all("delta") | least(.new / 1e6 / ([.took.apply.cpu_secs, 0.01] | max)); 100),
    limit("memory, making a delta, worst pair, MiB"; on_all("delta") | greatest(.took.make.peak_bytes | mib); 1024),
    limit("CPU time, making a delta to bsdiff, largest pair";
      [$report.pairs.a.methods | .delta.make.cpu_secs, .bsdiff.make.cpu_secs]
      | if any(. == null) then null else .[0] / .[1] end; 0.5)
  ]
