//! Revocations in the order in which they happened, page by page.

use super::connect::Queue;
use super::revocations::MARGIN_SECONDS;
use super::row::from_row;
use super::sessions::BATCH;
use super::{Store, StoreError, read, write};

/// A gate reads 4 MiB of a page and no more.
const MAX_PAGE_BYTES: i64 = 3 * 1024 * 1024;

/// A position in the history of revocations: after the entry with this sequence and tag, or at the start.
///
/// A sequence alone would not do. A store that was restored from a backup gives the same numbers to other
/// entries; the tag tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1; 0 is the start.
    pub sequence: i64,
    /// The entry's.
    pub tag: String,
}

/// Part of the history.
#[derive(Debug)]
pub struct Page {
    /// Which history: another one begins with each new store.
    pub epoch: String,
    /// Where the next page begins.
    pub next: Position,
    /// Whether the position that was asked for is not in this history, so that this page is the first.
    pub reset: bool,
    /// Whether there is a next page already.
    pub more: bool,
    /// In the order in which they happened.
    pub entries: Vec<Entry>,
}

/// One revocation: of a token, or of all of a subject's tokens issued before an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    sequence: i64,
    tag: String,
    /// The token's `jti`.
    pub jti: Option<String>,
    /// The tokens' `sub`.
    pub subject: Option<String>,
    /// Seconds since 1970.
    pub issued_before_seconds: Option<i64>,
    /// When the last token concerned expires. Seconds since 1970.
    pub expires_at_seconds: i64,
    /// How many there are for the page, itself among them.
    found: i64,
}

from_row!(Entry { sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds, found });

impl Position {
    /// Before the first entry.
    pub fn start() -> Self {
        Self { sequence: 0, tag: "0".to_owned() }
    }
}

impl Store {
    /// Up to `limit` entries after `since` (an epoch and a position in it) that have not expired.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revocations_since(
        &self,
        since: Option<(&str, Position)>,
        limit: i64,
        now_seconds: i64,
    ) -> Result<Page, StoreError> {
        // What is appended from now on is for the next page: the end comes first.
        let (epoch, end) = self.end_of_revocations().await?;
        // Nearly every call of a gate ends here.
        if since.as_ref().is_some_and(|(of, position)| *of == epoch && *position == end) {
            return Ok(Page { epoch, next: end, reset: false, more: false, entries: Vec::new() });
        }
        let known = match since {
            Some((of, position)) if of == epoch && self.is_position(&position).await? => Some(position),
            _ => None,
        };
        let reset = known.is_none();
        let start = known.unwrap_or_else(Position::start);
        // A character takes up to six bytes in JSON. The first entry is always there: a token is short enough.
        let mut entries: Vec<Entry> = read!(self, pool => sqlx::query_as(
            "SELECT sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds, found FROM (\
             SELECT *, ROW_NUMBER() OVER (ORDER BY sequence) AS place, COUNT(*) OVER () AS found, \
             SUM(6 * COALESCE(LENGTH(jti), LENGTH(subject), 0) + 64) OVER (ORDER BY sequence) AS bytes FROM (\
             SELECT sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds FROM revocations \
             WHERE sequence > $1 AND sequence <= $2 AND expires_at_seconds > $3 ORDER BY sequence LIMIT $4\
             ) AS page) AS sized WHERE place = 1 OR bytes <= $5 ORDER BY sequence")
            .bind(start.sequence)
            .bind(end.sequence)
            .bind(now_seconds - MARGIN_SECONDS)
            .bind(limit.saturating_add(1))
            .bind(MAX_PAGE_BYTES)
            .fetch_all(pool)
            .await)?;
        let limit = usize::try_from(limit).unwrap_or_default();
        entries.truncate(limit);
        let found = entries.first().map_or(0, |entry| usize::try_from(entry.found).unwrap_or_default());
        let more = found > entries.len();
        let last = entries.last().filter(|_| more);
        let next = last.map_or(end, |entry| Position { sequence: entry.sequence, tag: entry.tag.clone() });
        Ok(Page { epoch, next, reset, more, entries })
    }

    /// Forgets what has expired, and what a later revocation of the same subject covers. Never the newest
    /// entry: a gate that has read everything stands on it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prune_revocations(&self) -> Result<u64, StoreError> {
        const EXPIRED: &str = "DELETE FROM revocations WHERE sequence IN (SELECT sequence FROM revocations \
             WHERE expires_at_seconds <= $1 AND sequence < (SELECT MAX(sequence) FROM revocations) LIMIT $2)";
        const COVERED: &str = "DELETE FROM revocations WHERE sequence IN (\
             SELECT old.sequence FROM revocations AS old JOIN revocations AS new ON new.subject = old.subject \
             AND new.sequence > old.sequence AND new.issued_before_seconds >= old.issued_before_seconds \
             AND new.expires_at_seconds >= old.expires_at_seconds WHERE old.subject IS NOT NULL \
             AND old.expires_at_seconds > $1 LIMIT $2)";
        let until_seconds = self.sure_now_ms().await? / 1000 - MARGIN_SECONDS;
        let mut forgotten = 0;
        for statement in [EXPIRED, COVERED] {
            loop {
                let batch = write!(self, Queue::Writers, transaction => sqlx::query(statement)
                    .bind(until_seconds)
                    .bind(BATCH)
                    .execute(&mut *transaction)
                    .await
                    .map(|done| done.rows_affected()))?;
                forgotten += batch;
                // A batch of the second may name an entry twice.
                if batch == 0 {
                    break;
                }
            }
        }
        Ok(forgotten)
    }

    /// Now; or before, where this machine's clock is ahead of the database's. What a clock that is wrong
    /// takes for expired is not forgotten.
    pub(super) async fn sure_now_ms(&self) -> Result<i64, StoreError> {
        let now_ms = self.clock.now_ms();
        let super::Pool::Postgres(pools) = &self.pool else { return Ok(now_ms) };
        let (theirs_ms,): (i64,) = super::in_time(
            sqlx::query_as("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
                .fetch_one(pools.readers()),
        )
        .await?;
        Ok(now_ms.min(theirs_ms))
    }

    async fn end_of_revocations(&self) -> Result<(String, Position), StoreError> {
        let (epoch, sequence, tag): (String, Option<i64>, Option<String>) = read!(self, pool => sqlx::query_as(
                "SELECT feed.epoch, last.sequence, last.tag FROM revocation_feed AS feed LEFT JOIN revocations \
                 AS last ON last.sequence = (SELECT MAX(sequence) FROM revocations) WHERE feed.id = 1")
                .fetch_one(pool)
                .await)?;
        let last = sequence.zip(tag).map(|(sequence, tag)| Position { sequence, tag });
        Ok((epoch, last.unwrap_or_else(Position::start)))
    }

    async fn is_position(&self, position: &Position) -> Result<bool, StoreError> {
        if *position == Position::start() {
            return Ok(true);
        }
        let (known,): (bool,) = read!(self, pool => sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM revocations WHERE sequence = $1 AND tag = $2)")
            .bind(position.sequence)
            .bind(&position.tag)
            .fetch_one(pool)
            .await)?;
        Ok(known)
    }
}
