//! Revocations in the order in which they happened, page by page.

use super::revocations::MARGIN_SECONDS;
use super::row::from_row;
use super::{Store, StoreError, on_pool};

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
}

from_row!(Entry { sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds });

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
        let mut entries: Vec<Entry> = on_pool!(self, pool => sqlx::query_as(
            "SELECT sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds FROM revocations \
             WHERE sequence > $1 AND sequence <= $2 AND expires_at_seconds > $3 ORDER BY sequence LIMIT $4")
            .bind(start.sequence)
            .bind(end.sequence)
            .bind(now_seconds - MARGIN_SECONDS)
            .bind(limit.saturating_add(1))
            .fetch_all(pool)
            .await)?;
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let next = last.map_or(end, |entry| Position { sequence: entry.sequence, tag: entry.tag.clone() });
        Ok(Page { epoch, next, reset, more, entries })
    }

    /// Forgets what has expired, but never the newest entry: whoever has read everything stands on it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prune_revocations(&self, now_seconds: i64) -> Result<u64, StoreError> {
        on_pool!(self, pool => sqlx::query(
            "DELETE FROM revocations WHERE expires_at_seconds <= $1 \
             AND sequence < (SELECT MAX(sequence) FROM revocations)")
            .bind(now_seconds - MARGIN_SECONDS)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::from))
    }

    async fn end_of_revocations(&self) -> Result<(String, Position), StoreError> {
        let (epoch, sequence, tag): (String, Option<i64>, Option<String>) = on_pool!(self, pool => sqlx::query_as(
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
        let (known,): (bool,) = on_pool!(self, pool => sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM revocations WHERE sequence = $1 AND tag = $2)")
            .bind(position.sequence)
            .bind(&position.tag)
            .fetch_one(pool)
            .await)?;
        Ok(known)
    }
}
