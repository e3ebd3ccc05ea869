-- Times are milliseconds since 1970 unless the name ends in _seconds.

CREATE TABLE users (
    id             TEXT    NOT NULL PRIMARY KEY,
    email          TEXT    NOT NULL UNIQUE,      -- normalised: NFKC, case-folded
    name           TEXT    NOT NULL,
    image          TEXT,
    password_hash  TEXT    NOT NULL,
    disabled       BOOLEAN NOT NULL DEFAULT FALSE,
    -- Tokens of this user with an `iat` before it are revoked.
    valid_from_seconds BIGINT NOT NULL DEFAULT 0,
    created_at     BIGINT  NOT NULL,
    updated_at     BIGINT  NOT NULL
);

CREATE TABLE sessions (
    id          TEXT   NOT NULL PRIMARY KEY,     -- the token's `jti`
    user_id     TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    ip_address  TEXT   NOT NULL,
    user_agent  TEXT   NOT NULL,
    remember    BOOLEAN NOT NULL,                -- whether the cookie outlives the browser
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- What is revoked until it would have expired: one token (`jti`), or all of a subject's tokens with an
-- `iat` before `issued_before_seconds`. `sequence` has no gaps and is in the order of the commits.
CREATE TABLE revocations (
    sequence              BIGINT NOT NULL PRIMARY KEY,
    tag                   TEXT   NOT NULL,       -- random; tells this entry from another history's
    jti                   TEXT,
    subject               TEXT,
    issued_before_seconds BIGINT,
    expires_at_seconds    BIGINT NOT NULL
);
CREATE INDEX revocations_by_jti ON revocations (jti);
CREATE INDEX revocations_by_subject ON revocations (subject, issued_before_seconds);
CREATE INDEX revocations_by_expiry ON revocations (expires_at_seconds);

-- One row. Whoever appends to `revocations` first moves `head`, which makes the appends one after another.
CREATE TABLE revocation_feed (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch TEXT    NOT NULL,
    head  BIGINT  NOT NULL
);
