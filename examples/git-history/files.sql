-- SPDX-License-Identifier: MPL-2.0
-- The files of a git history, with the lines each has now.

--@ projection files

--@ select category file

--@ schema
CREATE TABLE files (
    path        TEXT PRIMARY KEY,  -- or the name that stands for it
    lines       INTEGER,           -- NULL: was binary once, so not countable
    changes     INTEGER NOT NULL,
    last_commit TEXT NOT NULL
) WITHOUT ROWID;

--@ on FileChanged
-- A binary change has no numbers: json_extract gives NULL, and NULL stays
-- NULL whatever is added to it later.
INSERT INTO files (path, lines, changes, last_commit)
VALUES (:key,
        json_extract(:data, '$.added') - json_extract(:data, '$.deleted'),
        1,
        json_extract(:meta, '$.commit'))
ON CONFLICT (path) DO UPDATE SET
    lines = files.lines + excluded.lines,
    changes = files.changes + 1,
    last_commit = excluded.last_commit;

--@ reset
DROP TABLE files;
