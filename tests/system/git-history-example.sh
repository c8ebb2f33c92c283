#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# The programs of examples/git-history without any daemon: what the converter
# prints is applied to SQLite by the statements of files.sql, and the verifier
# compares the result with what git says.
#
#   BUILD            the build folder (build/gcc)
#   CAIRN_TEST_DATA  where git-history/libzmq.* lies (../shared/data)
#   SEED             of the made-up history (1)
set -u

cd "$(dirname "$0")/../.." || exit 1
bin=${BUILD:-build/gcc}/examples/git-history
example=examples/git-history
golden=tests/data/git-history
shared=${CAIRN_TEST_DATA:-../shared/data}/git-history
seed=${SEED:-1}
hash=0123456789abcdef0123456789abcdef01234567
other=fedcba9876543210fedcba9876543210fedcba98

if [ ! -x "$bin/convert" ]; then
    echo "SKIP: $bin/convert is not built"
    exit 77
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "FAILED: $*"
    exit 1
}

ok() {
    echo "[       OK ] $*"
}

# same NAME EXPECTED FOUND: two files hold the same bytes.
same() {
    cmp -s "$2" "$3" && return
    diff "$2" "$3" | head -n 20
    fail "$1: differs from what was expected"
}

# exits CODE COMMAND...: runs it; what it prints is in $dir/out and $dir/err.
exits() {
    wanted=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    [ $code -eq "$wanted" ] && return
    cat "$dir/out" "$dir/err" | head -n 20
    fail "$*: exit $code instead of $wanted"
}

# says FILE TEXT: a line of the file holds the text.
says() {
    grep -qF -e "$2" "$1" && return
    head -n 20 "$1"
    fail "expected to read: $2"
}

# ---- the converter ----------------------------------------------------------

exits 0 "$bin/convert" $golden/tricky.numstat
same "tricky input" $golden/tricky.jsonl "$dir/out"
says "$dir/err" '"a => b" is taken for a path'
ok tricky_input_gives_the_golden_events

gzip -nc $golden/tricky.numstat >"$dir/tricky.gz"
exits 0 "$bin/convert" "$dir/tricky.gz"
same "compressed file" $golden/tricky.jsonl "$dir/out"
"$bin/convert" - <"$dir/tricky.gz" >"$dir/out" 2>/dev/null || fail "gzip on stdin"
same "compressed standard input" $golden/tricky.jsonl "$dir/out"
gunzip -c "$dir/tricky.gz" | "$bin/convert" >"$dir/out" 2>/dev/null
same "standard input" $golden/tricky.jsonl "$dir/out"
ok file_and_pipe_plain_and_compressed_are_the_same

exits 0 "$bin/convert" /dev/null
[ ! -s "$dir/out" ] || fail "no commits, but events"
ok an_empty_history_has_no_events

exits 64 "$bin/convert" --what
exits 64 "$bin/convert" one two
exits 0 "$bin/convert" --help
says "$dir/out" "git log --first-parent"
exits 1 "$bin/convert" "$dir/absent"
says "$dir/err" "No such file or directory"
exits 1 "$bin/convert" "$dir"
says "$dir/err" "Is a directory"
if [ -w /dev/full ]; then
    "$bin/convert" $golden/tricky.numstat >/dev/full 2>"$dir/err"
    [ $? -eq 1 ] || fail "a full disk is no error"
    says "$dir/err" "No space left on device"
fi
ok bad_arguments_and_files_are_told

# refused BEFORE TEXT: the commit in $dir/next, behind a good one, is told with
# its line, and what is printed is no more than BEFORE.
refused() {
    cat "$dir/good" "$dir/next" >"$dir/bad"
    exits 1 "$bin/convert" "$dir/bad"
    says "$dir/err" "$2"
    same "before: $2" "$1" "$dir/out"
}

# refuses TEXT FORMAT [VALUE]: a commit whose head is good.
refuses() {
    text=$1
    shift
    # shellcheck disable=SC2059 # the format is the test
    printf "$@" >"$dir/next"
    refused "$dir/good.jsonl" "$text"
}

# refuses_head TEXT FORMAT [VALUE]: where the head is bad, nobody knows whether
# the commit before it had ended.
refuses_head() {
    text=$1
    shift
    # shellcheck disable=SC2059 # the format is the test
    printf "$@" >"$dir/next"
    refused /dev/null "$text"
}

printf '@%s 5\n\n1\t0\tgood\n' $hash >"$dir/good"
"$bin/convert" "$dir/good" >"$dir/good.jsonl"

refuses 'line 7: expected two num' '@%s 6\n\n1\t0\ta\nx\t0\tb\n' $other
refuses 'line 6: expected two num' '@%s 6\n\n-\t0\ta\n' $other
refuses 'line 6: expected two num' '@%s 6\n\n-1\t0\ta\n' $other
refuses 'line 6: expected two num' '@%s 6\n\n\t0\ta\n' $other
refuses 'line 6: expected two num' '@%s 6\n\n4294967296\t0\ta\n' $other
refuses 'line 6: expected two num' \
    '@%s 6\n\n99999999999999999999999999999999\t0\ta\n' $other
refuses 'line 6: expected lines added, tab' '@%s 6\n\n1\t0 a\n' $other
refuses 'found " 1 file changed"' '@%s 6\n\n 1 file changed\n' $other
refuses 'line 6: the path is empty' '@%s 6\n\n1\t0\t\n' $other
refuses 'line 6: the path is empty' '@%s 6\n\n1\t0\t""\n' $other
refuses "begins with '/'" '@%s 6\n\n1\t0\t/etc/passwd\n' $other
refuses 'no closing one' '@%s 6\n\n1\t0\t"a\n' $other
refuses 'no closing one' '@%s 6\n\n1\t0\t"a\\"\n' $other
refuses 'begins no escape' '@%s 6\n\n1\t0\t"a\\\n' $other
refuses 'begins no escape' '@%s 6\n\n1\t0\t"a\\q"\n' $other
refuses 'begins no escape' '@%s 6\n\n1\t0\t"a\\40"\n' $other
refuses 'begins no escape' '@%s 6\n\n1\t0\t"a\\400"\n' $other
refuses 'holds a NUL' '@%s 6\n\n1\t0\t"a\\0001"\n' $other
refuses 'with --no-renames' '@%s 6\n\n1\t0\t"a" => "b"\n' $other
refuses 'control character' '@%s 6\n\n1\t0\ta\r\n' $other
refuses 'without -z' '@%s 6\n\n1\t0\ta\0001\t0\tb\n' $other
refuses 'line 6: cut off' '@%s 6\n\n1\t0\ta' $other
refuses_head 'line 4: cut off' '@%s' $other
refuses_head "line 4: expected '@', a hash" '@%s\n' $other
refuses_head "line 4: expected '@', a hash" '@%s 6\n' "${other}0"
refuses_head "line 4: expected '@', a hash" '@%s 6\n' "${other%8}G"
refuses_head "line 4: expected '@', a hash" '@\n'
refuses_head 'line 4: expected a time' '@%s \n' $other
refuses_head 'line 4: expected a time' '@%s -6\n' $other
refuses_head 'line 4: expected a time' '@%s 6 7\n' $other
refuses_head 'line 4: expected a time' '@%s 9007199254740993\n' $other
ok bad_input_is_refused_with_its_line_and_no_partial_commit

printf '1\t0\ta\n' >"$dir/bad"
exits 1 "$bin/convert" "$dir/bad"
says "$dir/err" 'line 1: a file before the first commit'
{ cat "$dir/good" "$dir/good"; } >"$dir/bad"
exits 1 "$bin/convert" "$dir/bad"
says "$dir/err" 'line 4: commit 0123456789abcdef'
says "$dir/err" 'run git with --first-parent'
same "a commit twice" "$dir/good.jsonl" "$dir/out"
ok a_cut_beginning_and_a_doubled_merge_are_noticed

head -c "$(($(wc -c <"$dir/tricky.gz") / 2))" "$dir/tricky.gz" >"$dir/cut.gz"
exits 1 "$bin/convert" "$dir/cut.gz"
says "$dir/err" 'cut off'
{
    head -c "$(($(wc -c <"$dir/tricky.gz") - 8))" "$dir/tricky.gz"
    printf 'checksum'
} >"$dir/bad.gz"
exits 1 "$bin/convert" "$dir/bad.gz"
says "$dir/err" 'compressed data are damaged'
ok damaged_compression_is_noticed

# many COUNT: a commit of so many files behind the good one.
many() {
    cat "$dir/good"
    printf '@%s 6\n\n' $other
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "1\t0\tf" i }'
}
many 65536 >"$dir/many"
exits 0 "$bin/convert" "$dir/many"
[ "$(wc -l <"$dir/out")" -eq 65539 ] || fail "65,536 files in one commit"
many 65537 >"$dir/many"
exits 1 "$bin/convert" "$dir/many"
says "$dir/err" 'line 65542: commit fedcba9'
same "too many files" "$dir/good.jsonl" "$dir/out"

# long HEAD COUNT TEXT TAIL: a line with the text COUNT times.
long() {
    printf '@%s 6\n\n1\t0\t%s' $other "$1"
    awk -v n="$2" -v text="$3" 'BEGIN { while (n--) printf "%s", text }'
    printf '%s\n' "$4"
}
long '' 4097 x '' >"$dir/next"
refused "$dir/good.jsonl" 'line 6: the path is longer than 4096 bytes'
long '"' 4097 '\\001' '"' >"$dir/next"
refused "$dir/good.jsonl" 'line 6: the path is longer than 4096 bytes'
long '' 32764 x '' >"$dir/next"
refused "$dir/good.jsonl" 'line 6: the path is longer than 4096 bytes'
long '' 32765 x '' >"$dir/next"
refused "$dir/good.jsonl" 'line 6: longer than 32768 bytes'
long '' 99999 x '' >"$dir/next"
refused "$dir/good.jsonl" 'line 6: longer than 32768 bytes'
ok every_limit_is_kept

# ---- histories --------------------------------------------------------------

exits 64 "$bin/make-history"
exits 64 "$bin/make-history" --commits 0 "$dir/h" "$dir/t"
exits 1 "$bin/make-history" "$dir/absent/h" "$dir/t"
echo "seed=$seed"
exits 0 "$bin/make-history" --seed "$seed" --commits 3000 --sha256 \
    "$dir/made.numstat" "$dir/made.truth"
mv "$dir/out" "$dir/made.counts"
"$bin/make-history" --seed "$seed" --commits 3000 --sha256 \
    "$dir/again.numstat" "$dir/again.truth" >/dev/null
same "the same seed" "$dir/made.numstat" "$dir/again.numstat"
same "the same seed" "$dir/made.truth" "$dir/again.truth"
ok the_same_seed_makes_the_same_history

for i in made again; do
    exits 0 "$bin/convert" "$dir/$i.numstat"
    mv "$dir/out" "$dir/$i.jsonl"
done
same "determinism" "$dir/made.jsonl" "$dir/again.jsonl"

# Each git commit stands alone: a part converts to the part of the whole.
awk '/^@/ { commits++ } commits > 2000' "$dir/made.numstat" >"$dir/part"
exits 0 "$bin/convert" "$dir/part"
mv "$dir/out" "$dir/part.jsonl"
tail -n "$(wc -l <"$dir/part.jsonl")" "$dir/made.jsonl" >"$dir/tail.jsonl"
same "the end of a history" "$dir/tail.jsonl" "$dir/part.jsonl"
ok events_depend_on_their_git_commit_alone

if ! command -v sqlite3 >/dev/null; then
    echo "SKIP: no sqlite3 command, so no read model was made"
    exit 0
fi

# section NAME: the statements of one section of files.sql.
section() {
    awk -v want="--@ $1" '/^--@ / { on = $0 == want; next } on' \
        $example/files.sql
}

# model EVENTS MODEL: what the projector would make of the events.  The
# statements of the projection become a trigger on a table of events.
model() {
    {
        section schema
        echo 'CREATE TEMP TABLE line (text TEXT);'
        echo 'CREATE TEMP TABLE event (key, data, meta);'
        echo 'CREATE TEMP TRIGGER event_added AFTER INSERT ON event BEGIN'
        section 'on FileChanged' | sed 's/:\(key\|data\|meta\)/NEW.\1/g'
        echo 'END;'
        printf '.mode ascii\n.separator "\\001" "\\n"\n'
        printf '.import "%s" line\n' "$1"
        cat <<'SQL'
INSERT INTO event
SELECT substr(text ->> 'stream', instr(text ->> 'stream', '-') + 1),
       text -> 'data', text -> 'meta'
FROM line WHERE text ->> 'type' = 'FileChanged' ORDER BY rowid;
SQL
    } >"$dir/model.sql"
    rm -f "$2"
    sqlite3 -bail "$2" <"$dir/model.sql" >"$dir/sqlite" 2>&1 && return
    cat "$dir/sqlite"
    fail "files.sql cannot be run on $1"
}

# shape EVENTS: checks what must hold for the events of any history, and
# prints how many commits and changes there are.
shape() {
    sqlite3 -bail :memory: <<SQL
.mode ascii
.separator "\001" "\n"
CREATE TABLE line (text TEXT);
.import "$1" line
.mode list
SELECT 'bad JSON: ' || text FROM line WHERE NOT json_valid(text);
CREATE VIEW event AS SELECT rowid AS number, text ->> 'stream' AS stream,
    text ->> 'type' AS type, text ->> 'command' AS command,
    text ->> 'expect' AS expect, text ->> 'more' AS more,
    text -> 'meta' ->> 'commit' AS hash, text -> 'data' AS data FROM line;
SELECT 'bad stream: ' || stream FROM event
    WHERE length(CAST(stream AS BLOB)) > 255
    OR stream NOT LIKE 'file-_%' AND stream NOT LIKE 'commit-_%';
SELECT 'ends wrongly: ' || number FROM event
    WHERE (type = 'CommitMade') = (more IS 1)
    OR (type = 'CommitMade') <> (expect IS 'none')
    OR type = 'CommitMade' AND stream <> 'commit-' || hash;
SELECT 'not one command: ' || hash FROM event
    GROUP BY hash HAVING count(DISTINCT command) <> 1;
SELECT 'command of two commits: ' || command FROM event
    GROUP BY command HAVING count(DISTINCT hash) <> 1;
SELECT 'a commit in pieces: ' || hash FROM event
    GROUP BY hash HAVING max(number) - min(number) + 1 <> count(*);
SELECT 'wrong sums: ' || hash FROM event GROUP BY hash HAVING
    max(iif(type = 'CommitMade', data ->> 'files', 0)) <> count(*) - 1
    OR max(iif(type = 'CommitMade', data ->> 'added', 0)) <>
       sum(iif(type = 'FileChanged', coalesce(data ->> 'added', 0), 0))
    OR max(iif(type = 'CommitMade', data ->> 'deleted', 0)) <>
       sum(iif(type = 'FileChanged', coalesce(data ->> 'deleted', 0), 0));
SELECT sum(type = 'CommitMade') || ' commits, ' || sum(type = 'FileChanged')
    || ' changes' FROM event;
SQL
}

# holds EVENTS NUMSTAT: every git commit and change is there, once.
holds() {
    shape "$1" >"$dir/shape" 2>&1
    printf '%d commits, %d changes\n' "$(grep -c '^@' "$2")" \
        "$(grep -c '^[-0-9]' "$2")" >"$dir/wanted"
    same "the events of $2" "$dir/wanted" "$dir/shape"
}

# history NAME: converts $dir/NAME.numstat and makes $dir/NAME.sqlite of it.
history() {
    exits 0 "$bin/convert" "$dir/$1.numstat"
    mv "$dir/out" "$dir/$1.jsonl"
    holds "$dir/$1.jsonl" "$dir/$1.numstat"
    model "$dir/$1.jsonl" "$dir/$1.sqlite"
}

# count NAME: a number from what make-history said.
count() {
    tr ' ' '\n' <"$dir/made.counts" | sed -n "s/^$1=//p"
}

history made
exits 0 "$bin/verify" "$dir/made.sqlite" "$dir/made.truth"
says "$dir/out" "$(count text) of $(count text) text files agree"
says "$dir/out" "$(count binary) binary file"
says "$dir/out" "$(count not_countable) text file"
[ "$(grep -c '^not countable: ' "$dir/out")" -eq "$(count not_countable)" ] ||
    fail "files that were binary once are not all named"
exits 0 "$bin/verify" --json "$dir/made.sqlite" "$dir/made.truth"
printf 'SELECT %s;\n' "json_extract(readfile('$dir/out'), '\$.verified') || ' '
    || json_extract(readfile('$dir/out'), '\$.text') || ' '
    || json_extract(readfile('$dir/out'), '\$.agree') || ' '
    || json_extract(readfile('$dir/out'), '\$.binary') || ' '
    || json_array_length(readfile('$dir/out'), '\$.not_countable')" |
    sqlite3 >"$dir/shape"
echo "1 $(count text) $(count text) $(count binary) $(count not_countable)" \
    >"$dir/wanted"
same "--json" "$dir/wanted" "$dir/shape"
ok a_made_up_history_agrees_with_its_truth

awk -F '\t' '
    /^@/ { split(substr($0, 2), head, " ") }
    $3 ~ /^src\/part/ { changes[$3]++; last[$3] = head[1] }
    END { for (path in last) print path "|" changes[path] "|" last[path] }
    ' "$dir/made.numstat" | LC_ALL=C sort >"$dir/wanted"
sqlite3 "$dir/made.sqlite" "SELECT path, changes, last_commit FROM files
    WHERE path LIKE 'src/part%'" | LC_ALL=C sort >"$dir/shape"
[ -s "$dir/wanted" ] || fail "no plain paths in the made-up history"
same "changes and last commits" "$dir/wanted" "$dir/shape"
ok changes_and_last_commits_are_those_of_the_history

awk '!/"FileChanged"/ || ++changes != 4321' "$dir/made.jsonl" \
    >"$dir/lost.jsonl"
model "$dir/lost.jsonl" "$dir/lost.sqlite"
cut=$(sqlite3 "$dir/made.sqlite" <<SQL
ATTACH '$dir/lost.sqlite' AS lost;
SELECT count(*) FROM files f LEFT JOIN lost.files l USING (path)
WHERE f.changes IS NOT l.changes;
SQL
)
[ "$cut" -eq 1 ] || fail "a lost event changes $cut files"
ok each_event_counts

# ---- the verifier -----------------------------------------------------------

rm -f "$dir/small.sqlite"
{
    section schema
    cat <<'SQL'
INSERT INTO files VALUES ('same', 7, 1, ''), ('less', 4, 1, ''),
    ('one', 1, 1, ''), ('once', NULL, 2, ''), ('image', NULL, 1, ''),
    ('not binary', 3, 1, ''), ('gone', 0, 2, ''), ('gone binary', NULL, 2, ''),
    ('left', 5, 1, ''), ('left' || char(10), -1, 1, ''), ('text', 'x', 1, '');
SQL
} | sqlite3 "$dir/small.sqlite"
printf '%s\t0\t%s\n' 7 same 5 less 2 one 6 once 1 absent 0 text >"$dir/truth"
printf -- '-\t-\t%s\n' image 'not binary' 'absent image' >>"$dir/truth"
cat >"$dir/wanted" <<'EOT'
missing: absent: expected 1 line, not in the model
missing: absent image: expected binary, not in the model
differs: less: expected 5 lines, found 4 lines
differs: not binary: expected binary, found 3 lines
not countable: once: expected 6 lines, was binary once
differs: one: expected 2 lines, found 1 line
differs: text: expected 0 lines, found x lines
extra: left: not in the truth, found 5 lines
extra: "left\n": not in the truth, found -1 lines
1 of 5 text files agree
3 binary files, without lines to compare
1 text file not countable, binary once
EOT
exits 1 "$bin/verify" "$dir/small.sqlite" "$dir/truth"
same "every kind of finding" "$dir/wanted" "$dir/out"
cat >"$dir/wanted" <<'EOT'
{"verified":false,"text":5,"agree":1,"binary":3,"differ":[{"path":"less","expected":5,"found":4},{"path":"not binary","expected":null,"found":3},{"path":"one","expected":2,"found":1},{"path":"text","expected":0,"found":"x"}],"missing":[{"path":"absent","expected":1},{"path":"absent image","expected":null}],"extra":[{"path":"left","found":5},{"path":"\"left\\n\"","found":-1}],"not_countable":[{"path":"once","expected":6}]}
EOT
exits 1 "$bin/verify" --json "$dir/small.sqlite" "$dir/truth"
printf "SELECT json(readfile('%s'));\n" "$dir/out" | sqlite3 >"$dir/shape"
same "every kind of finding" "$dir/wanted" "$dir/shape"
ok every_kind_of_finding_is_named

cp "$dir/made.sqlite" "$dir/null.sqlite"
sqlite3 "$dir/null.sqlite" 'UPDATE files SET lines = NULL'
exits 1 "$bin/verify" "$dir/null.sqlite" "$dir/made.truth"
says "$dir/out" "no file was compared"
if [ -w /dev/full ]; then
    "$bin/verify" "$dir/made.sqlite" "$dir/made.truth" >/dev/full 2>"$dir/err"
    [ $? -eq 1 ] || fail "a report that was not written is no error"
    says "$dir/err" "No space left on device"
fi
ok comparing_nothing_and_telling_nobody_are_no_success

printf '7\t0\tsame\n' >"$dir/truth"
exits 64 "$bin/verify"
exits 64 "$bin/verify" "$dir/small.sqlite"
exits 64 "$bin/verify" --what "$dir/small.sqlite" "$dir/truth"
exits 0 "$bin/verify" --help
exits 1 "$bin/verify" "$dir/absent" "$dir/truth"
says "$dir/err" "absent: unable to open database file"
[ ! -e "$dir/absent" ] || fail "the verifier makes a model"
exits 1 "$bin/verify" "$dir/good" "$dir/truth"
says "$dir/err" "file is not a database"
sqlite3 "$dir/empty.sqlite" 'CREATE TABLE other (x)'
exits 1 "$bin/verify" "$dir/empty.sqlite" "$dir/truth"
says "$dir/err" "no such table"
exits 1 "$bin/verify" "$dir/small.sqlite" "$dir/absent"
says "$dir/err" "No such file or directory"
exits 1 "$bin/verify" "$dir/small.sqlite" "$dir/good"
says "$dir/err" "line 1: a commit; the truth is a git diff"
printf '7\t1\tsame\n' >"$dir/truth"
exits 1 "$bin/verify" "$dir/small.sqlite" "$dir/truth"
says "$dir/err" "line 1: deleted lines"
printf '7\t0\tsame\n7\t0\t"same"\n' >"$dir/truth"
exits 1 "$bin/verify" "$dir/small.sqlite" "$dir/truth"
says "$dir/err" "line 2: the path comes twice: same"
exits 1 "$bin/verify" "$dir/small.sqlite" /dev/null
says "$dir/err" "holds no file"
ok bad_models_and_truths_are_told

# ---- real histories ---------------------------------------------------------

# differs_by_one NAME: with one number of the truth changed, the file is named.
differs_by_one() {
    awk -F '\t' -v OFS='\t' -v name="$dir/named" '
        $1 > 5 && $3 ~ /^[a-zA-Z.\/]*$/ && !done && $1 != "-" {
            print "differs: " $3 ": expected " $1 + 1 " lines, found " $1 \
                " lines" >name
            $1++; done = 1
        }
        { print }' "$dir/$1.truth" >"$dir/false.truth"
    exits 1 "$bin/verify" "$dir/$1.sqlite" "$dir/false.truth"
    says "$dir/out" "$(cat "$dir/named")"
    [ "$(grep -c '^differs: ' "$dir/out")" -eq 1 ] || fail "more than one differs"
}

if [ -r "$shared/libzmq.numstat.gz" ]; then
    gunzip -c "$shared/libzmq.numstat.gz" >"$dir/libzmq.numstat"
    cat "$shared/libzmq.truth.tsv" >"$dir/libzmq.truth"
    history libzmq
    exits 0 "$bin/verify" "$dir/libzmq.sqlite" "$dir/libzmq.truth"
    says "$dir/out" "821 of 821 text files agree"
    says "$dir/out" "3 binary files"
    says "$dir/wanted" "3367 commits"
    differs_by_one libzmq
    says "$dir/out" "820 of 821 text files agree"
    ok the_history_of_libzmq_agrees_821_of_821
else
    echo "SKIP: no $shared/libzmq.numstat.gz, so only other histories were read"
fi

# What follows asks git itself, with paths that it quotes, merges, a file that
# was binary once, links, changes of mode and a rename.
if ! command -v git >/dev/null; then
    echo "SKIP: no git command, so no repository was made"
    exit 0
fi
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# saved TEXT: a git commit of all that is in the work tree.
saved() {
    git add -A && git commit -q --allow-empty -m "$1"
}

# make_repository FORMAT: in the current folder; needs set -e.
make_repository() {
    git init -q --object-format="$1" -b main .
    mkdir -p dir/deep
    seq 10 >plain
    seq 20 >dir/deep/file
    printf 'no newline at its end' >short
    : >empty
    printf '\000\001' >binary
    printf '\000' >'was binary'
    seq 3 >"$(printf 'caf\303\251')"
    seq 4 >"$(printf 'caf\351')"
    seq 5 >"$(printf 'tab\there\nand "more"\\\001\177')"
    seq 6 >'"quoted"'
    seq 7 >"from => to"
    seq 8 >'@at'
    long=$(printf '%0200d' 0)
    mkdir "$long"
    seq 9 >"$long/$long"
    ln -s plain link
    saved first
    saved nothing
    seq 8 >plain
    seq 5 30 >dir/deep/file
    seq 4 >'was binary'
    git mv empty moved
    chmod +x short
    saved second
    git checkout -q -b side
    seq 2 40 >side
    saved side
    seq 11 >"$(printf 'caf\351')"
    rm 'from => to'
    saved 'side again'
    git checkout -q main
    seq 12 >main
    saved main
    git merge -q --no-ff -m merged side
    rm link plain
    saved removed
    seq 13 >plain
    seq 14 >>'was binary'
    saved last
}

# read_repository NAME SETTING: its history and truth, as the README says.
read_repository() {
    git -c "$2" log --first-parent -m --reverse --numstat --no-renames \
        --format='@%H %ct' >"$dir/$1.numstat"
    git -c "$2" diff --numstat "$(git hash-object -t tree /dev/null)" HEAD \
        >"$dir/$1.truth"
}

for format in sha1 sha256; do
    mkdir "$dir/$format"
    # Not behind && or ||, which would take the effect from set -e.
    (
        set -e
        cd "$dir/$format"
        make_repository $format
    ) >"$dir/out" 2>&1
    code=$?
    [ $code -eq 0 ] || {
        cat "$dir/out"
        fail "no repository could be made"
    }
    (
        cd "$dir/$format" || exit 1
        read_repository git core.quotePath=true
        read_repository raw core.quotePath=false
    )
    history git
    exits 0 "$bin/verify" "$dir/git.sqlite" "$dir/git.truth"
    says "$dir/out" "12 of 12 text files agree"
    says "$dir/out" "1 binary file,"
    says "$dir/out" "not countable: was binary: expected 18 lines"
    differs_by_one git

    exits 0 "$bin/convert" "$dir/raw.numstat"
    same "core.quotePath" "$dir/git.jsonl" "$dir/out"
    exits 0 "$bin/verify" "$dir/git.sqlite" "$dir/raw.truth"
    ok "a_repository_of_${format}_agrees_however_its_paths_are_quoted"
done
