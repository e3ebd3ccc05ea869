//! How costly the accounts' hashes are.

use super::{Store, StoreError, read};

impl Store {
    /// The highest cost of a bcrypt hash in the store.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn highest_cost(&self) -> Result<Option<u32>, StoreError> {
        // `$2b$12$…`: two digits, so their order as text is that of the numbers.
        let cost: Option<String> = read!(self, pool => sqlx::query_scalar(
            "SELECT MAX(SUBSTR(password_hash, 5, 2)) FROM users WHERE password_hash LIKE '$2_$%' \
             AND SUBSTR(password_hash, 5, 2) <= '16'")
            .fetch_one(pool)
            .await
            .map_err(StoreError::from))?;
        Ok(cost.and_then(|cost| cost.parse().ok()))
    }
}
