# The report for a person.
def spaces($n): if $n > 0 then " " * $n else "" end;
def left($n): tostring | . + spaces($n - length);
def right($n): tostring | spaces($n - length) + .;
def fixed($n): (if . < 0 then "-" else "" end) as $sign | pow(10; $n) as $p
  | (fabs * $p + 0.5 | floor) as $scaled | ($scaled / $p | floor | tostring) as $whole
  | if $n == 0 then $sign + $whole else $sign + $whole + "." + ($scaled % $p + $p | tostring | .[1:]) end;
def thousands: if . < 1000 then tostring
  else (. / 1000 | floor | thousands) + "," + (. % 1000 + 1000 | tostring | .[1:]) end;
def mb: if . == null then "-" else . / 1e6 | fixed(0) end;

def names: {
  zstd: "from nothing: zstd -19", patch_from: "zstd -19 --patch-from", bsdiff: "bsdiff", xdelta3: "xdelta3 -9",
  casync: "casync, 64K chunks", rsync: "rsync -z",
  chunks: "suture, chunks alone *", chunks_nothing: "suture, from nothing, chunks *", delta: "suture, delta *",
  delta_nothing: "suture, from nothing, frames *" };
def ours: ["chunks", "delta", "chunks_nothing", "delta_nothing"];
def peers: ["zstd", "patch_from", "bsdiff", "xdelta3", "casync", "rsync"];
def ratio($a; $b): if $a == null or $b == null then "-" else $a / $b | fixed(2) end;

def of_pair($report; $p): $report.pairs[$p] as $pair | $pair.methods as $m |
  ($pair.sources | map(select(.side == "old"))) as $olds | ($pair.sources | map(select(.side == "new"))) as $news
  | ($news | map(.sha256)) as $kept | ($olds | map(.sha256)) as $had
  | "",
  "pair \($p): \($pair.old | thousands) -> \($pair.new | thousands) bytes; sha256 \($pair.sha256[0][:16]) -> \($pair.sha256[1][:16])",
  ($olds[] | select(.sha256 as $s | $kept | index($s) | not) | "  - \(.file)  \(.bytes | thousands)  \(.sha256)"),
  ($news[] | select(.sha256 as $s | $had | index($s) | not) | "  + \(.file)  \(.bytes | thousands)  \(.sha256)"),
  (($olds | map(select(.sha256 as $s | $kept | index($s))) | length) | select(. > 0) | "  = \(.) more on both sides, named in sources.tsv"),
  "",
  "\("" | left(36))\("bytes" | right(13))\("suture/it" | right(11))\("make: CPU s" | right(13))\("MB" | right(7))\("apply: CPU s" | right(14))\("MB" | right(6))",
  ((peers + ours)[] as $name | $m[$name] as $r | (names[$name] | left(36)) as $title
    | if $r then
        (if $name == "zstd" then $m.delta_nothing.bytes else $m.delta.bytes end) as $suture
        | "\($title)\($r.bytes | thousands | right(13))\((if peers | index($name) then ratio($suture; $r.bytes) else "" end) | right(11))\($r.make.cpu_secs | fixed(1) | right(13))\($r.make.peak_bytes | mb | right(7))\($r.apply.cpu_secs | fixed(1) | right(14))\($r.apply.peak_bytes | mb | right(6))\(if $r.kept then "  kept" else "" end)"
      else "\($title)\("not measured" | right(13))" end);

. as $report
| ($report.pairs | keys[] as $p | of_pair($report; $p)),
  "",
  "kept: of an earlier run on the same pair.  *: computed without a server: index and pieces, not the signed metadata (the same few",
  "kilobytes whatever the payload).  Memory: the peak, of our deltas above idle; of rsync",
  "the larger of both sides'.",
  "suture/it: our delta to it; with nothing on the device, our frames from nothing.",
  "",
  "\("limit" | left(58))\("measured" | right(14))\("asked for" | right(11))",
  ($report.limits[] | "\(.what | left(58))\((if .value == null then "-" else .value | fixed(2) end) | right(14))\((if .at_most then "<= \(.at_most)" else ">= \(.at_least)" end) | right(11))  \(.verdict)")
