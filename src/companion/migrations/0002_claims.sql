-- The account's own claims, such as a role: a JSON object that goes into its tokens.
ALTER TABLE users ADD COLUMN claims TEXT NOT NULL DEFAULT '{}';
