-- SPDX-License-Identifier: MPL-2.0
-- Events in PostgreSQL, for bench/peers: one row for each, one order over all,
-- and appends that check the version of their stream.
CREATE TABLE messages (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, version)
);

-- The version that a stream is at, which must be the expected one; holds the
-- stream until the end of the transaction.
CREATE FUNCTION check_version(of_stream text, expected bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_stream, 0));
    SELECT max(version) INTO found FROM messages WHERE stream = of_stream;
    IF coalesce(found, 0) <> expected THEN
        RAISE EXCEPTION 'conflict: % is at version %', of_stream, found;
    END IF;
END
$$;

CREATE FUNCTION write_message(of_stream text, expected bigint,
                              new_type text, new_data bytea) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM check_version(of_stream, expected);
    INSERT INTO messages (stream, version, type, data)
        VALUES (of_stream, expected + 1, new_type, new_data)
        RETURNING position INTO found;
    RETURN found;
END
$$;

CREATE FUNCTION write_messages(of_stream text, expected bigint,
                               new_type text, new_data bytea[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    PERFORM check_version(of_stream, expected);
    INSERT INTO messages (stream, version, type, data)
        SELECT of_stream, expected + n, new_type, d
        FROM unnest(new_data) WITH ORDINALITY AS t (d, n) ORDER BY n;
    SELECT currval(pg_get_serial_sequence('messages', 'position')) INTO found;
    RETURN found;
END
$$;
