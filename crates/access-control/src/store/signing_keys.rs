//! The keys that sign tokens, by the times of [`crate::rotation`].

use super::Store;
use super::entities::signing_key;
use crate::rotation::{self, KeyTimes, Phase, Scheduled};
use crate::signing::{KeyRing, SEED_BYTES, SigningKey, jwk};
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::Jwk;
use quintile_store::{Result, StoreError, Transaction};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most keys at a time.
pub const MAX_KEYS: usize = 16;
/// The state of a key of which the times say what it does. A key in a state that this version does not know does nothing.
const SIGNING: &str = "signing";

impl Store {
    /// Makes the first key, if there is none. Returns whether there was none.
    pub(super) async fn seed_key(&self, transaction: &Transaction, entropy: &Entropy, now: Instant) -> Result<bool> {
        if !rows(transaction).await?.is_empty() {
            return Ok(false);
        }
        // There is nothing yet that it could be too early for.
        self.insert_key(transaction, entropy, now, now).await?;
        Ok(true)
    }

    /// Publishes a new key at `now`, which signs from `sign_from` on, and answers with its times among all keys; or with nothing, if there
    /// are [`MAX_KEYS`] already.
    pub async fn rotate(&self, entropy: &Entropy, now: Instant, sign_from: Instant) -> Result<Option<Scheduled>> {
        let transaction = self.begin_change().await?;
        let gone = kids_gone(scheduled(rows(&transaction).await?), now);
        delete(&transaction, gone).await?;
        if rows(&transaction).await?.len() >= MAX_KEYS {
            return Ok(None);
        }
        let kid = self.insert_key(&transaction, entropy, now, sign_from).await?;
        let made = scheduled(rows(&transaction).await?).into_iter().find(|scheduled| scheduled.key.kid == kid);
        transaction.commit().await?;
        Ok(made)
    }

    /// The times of all keys, in the order in which they sign.
    pub async fn key_times(&self) -> Result<Vec<Scheduled>> {
        Ok(scheduled(rows(self.database.reader()).await?))
    }

    /// The keys themselves.
    pub async fn key_ring(&self) -> Result<KeyRing> {
        let rows = rows(self.database.reader()).await?;
        let mut seeds: HashMap<_, _> = rows.iter().map(|row| (row.kid.clone(), row.sealed_seed.clone())).collect();
        let mut keys = Vec::new();
        for scheduled in scheduled(rows) {
            let sealed = seeds.remove(&scheduled.key.kid).unwrap_or_default();
            let opened = self.open_sealed(&scheduled.key.kid, &sealed)?;
            let seed: &[u8; SEED_BYTES] =
                opened.as_slice().try_into().map_err(|_| StoreError::Sealed("a signing key of another length"))?;
            keys.push((scheduled, Arc::new(SigningKey::from_seed(seed))));
        }
        Ok(KeyRing::new(keys))
    }

    /// The public parts of the keys, in the order in which they sign.
    pub(super) async fn public_keys(&self) -> Result<Vec<Jwk>> {
        let rows = rows(self.database.reader()).await?;
        let mut parts: HashMap<_, _> = rows.iter().map(|row| (row.kid.clone(), row.public_x.clone())).collect();
        let kids = scheduled(rows).into_iter().map(|scheduled| scheduled.key.kid);
        Ok(kids.map(|kid| (parts.remove(&kid).unwrap_or_default(), kid)).map(|(x, kid)| jwk(kid, x)).collect())
    }

    /// The ids of the keys that verify nothing any more.
    pub(super) async fn gone_keys(&self, now: Instant) -> Result<Vec<String>> {
        Ok(kids_gone(self.key_times().await?, now))
    }

    async fn insert_key(
        &self,
        transaction: &Transaction,
        entropy: &Entropy,
        now: Instant,
        sign_from: Instant,
    ) -> Result<String> {
        let seed = Zeroizing::new(entropy.bytes::<SEED_BYTES>());
        let key = SigningKey::from_seed(&seed);
        let row = signing_key::ActiveModel {
            kid: Set(key.kid().to_owned()),
            sealed_seed: Set(self.seal(entropy, key.kid(), seed.as_ref())),
            public_x: Set(key.public_x().to_owned()),
            created_at: Set(now.micros()),
            state: Set(SIGNING.to_owned()),
            published_at: Set(Some(now.micros())),
            sign_from: Set(Some(sign_from.micros())),
        };
        signing_key::Entity::insert(row).exec_without_returning(transaction).await?;
        Ok(key.kid().to_owned())
    }
}

/// Deletes keys by their ids.
pub async fn delete(transaction: &Transaction, kids: Vec<String>) -> Result<()> {
    signing_key::Entity::delete_many().filter(signing_key::Column::Kid.is_in(kids)).exec(transaction).await?;
    Ok(())
}

async fn rows(connection: &impl ConnectionTrait) -> Result<Vec<signing_key::Model>> {
    Ok(signing_key::Entity::find().filter(signing_key::Column::State.eq(SIGNING)).all(connection).await?)
}

fn scheduled(rows: Vec<signing_key::Model>) -> Vec<Scheduled> {
    let times = rows.into_iter().map(|row| KeyTimes {
        published: Instant::from_micros(row.published_at.unwrap_or(row.created_at)),
        sign_from: Instant::from_micros(row.sign_from.unwrap_or(row.created_at)),
        kid: row.kid,
    });
    rotation::schedule(times.collect())
}

fn kids_gone(keys: Vec<Scheduled>, now: Instant) -> Vec<String> {
    let gone = keys.into_iter().filter(|scheduled| scheduled.phase(now) == Phase::Gone);
    gone.map(|scheduled| scheduled.key.kid).collect()
}
