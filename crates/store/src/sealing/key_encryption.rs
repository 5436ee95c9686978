//! Master keys: they wrap other keys and nothing else. A file or the environment keeps them, or a key management service does, of
//! which no more is asked than [`KeyEncryption`].

use super::Key;
use crate::{Result, StoreError};
use parking_lot::RwLock;
use quintile_domain::entropy::Entropy;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most master keys at once: the present one, and those that are still to be retired.
pub const MAX_MASTER_KEYS: usize = 16;
/// Bytes of the hash that names a key.
const ID_BYTES: usize = 8;

/// Which master key wrapped a key. It tells nothing of the key, and may be logged and shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id that a service gives to a key of its own.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id of a key that we hold: 16 hexadecimal digits of a hash of a keyed hash of nothing secret.
    pub fn of(key: &Key) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.hash(b"quintile: the id of a master key")).into();
        let mut first = [0; ID_BYTES];
        first.copy_from_slice(&digest[..ID_BYTES]);
        Self(format!("{:016x}", u64::from_be_bytes(first)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key as it may be kept: with the id of the master key that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which master key wrapped it.
    pub key_id: KeyId,
    /// The key, wrapped.
    pub wrapped: Vec<u8>,
}

/// What wraps keys under master keys. A key management service is an implementation of this and of nothing else.
///
/// Errors are [`StoreError::Configuration`] for a key that is not there or a service that does not answer, and
/// [`StoreError::Sealed`] for what does not open. Neither holds a word of a key.
#[async_trait::async_trait]
pub trait KeyEncryption: Send + Sync {
    /// The id of the present master key, under which [`KeyEncryption::wrap`] wraps.
    async fn current_id(&self) -> Result<KeyId>;

    /// Wraps a key so that it opens in the same `place` only.
    async fn wrap(&self, key: &Key, place: &[u8]) -> Result<WrappedKey>;

    /// Opens a key that the master key `id`, present or former, wrapped for the same `place`.
    async fn unwrap(&self, id: &KeyId, place: &[u8], wrapped: &[u8]) -> Result<Key>;

    /// Looks again which master keys there are. A service that always knows has nothing to do.
    async fn reload(&self) -> Result<()>;
}

/// The master keys of a text: one a line, or apart by commas, each base64 of 32 bytes. The first is the present one.
pub fn master_keys(text: &str) -> Result<Vec<Key>> {
    let lines = text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Key> = lines.map(Key::from_base64).collect::<Result<_>>()?;
    match keys.len() {
        0 => Err(StoreError::Configuration("there is no master key".to_owned())),
        1..=MAX_MASTER_KEYS => Ok(keys),
        _ => Err(StoreError::Configuration(format!("there are more than {MAX_MASTER_KEYS} master keys"))),
    }
}

/// Master keys that this process holds itself, from a file or a text.
pub struct LocalKeys {
    /// Where they are read again. `None`: they stay as they are for as long as the process runs.
    file: Option<PathBuf>,
    entropy: Entropy,
    ring: RwLock<Arc<Vec<(KeyId, Key)>>>,
}

impl LocalKeys {
    /// The keys of a file, which is read again when keys are reloaded.
    pub fn from_file(path: &Path, entropy: Entropy) -> Result<Self> {
        let ring = ring(&read(path)?)?;
        Ok(Self { file: Some(path.to_owned()), entropy, ring: RwLock::new(Arc::new(ring)) })
    }

    /// The keys of a text, as the environment has them.
    pub fn from_text(text: &str, entropy: Entropy) -> Result<Self> {
        Ok(Self { file: None, entropy, ring: RwLock::new(Arc::new(ring(text)?)) })
    }

    fn present(&self) -> Result<(KeyId, Key)> {
        let ring = self.ring.read();
        ring.first().cloned().ok_or_else(|| StoreError::Configuration("there is no master key".to_owned()))
    }

    fn find(&self, id: &KeyId) -> Option<Key> {
        self.ring.read().iter().find(|(known, _)| known == id).map(|(_, key)| key.clone())
    }

    fn read_again(&self) -> Result<()> {
        if let Some(path) = &self.file {
            let ring = ring(&read(path)?)?;
            *self.ring.write() = Arc::new(ring);
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl KeyEncryption for LocalKeys {
    async fn current_id(&self) -> Result<KeyId> {
        Ok(self.present()?.0)
    }

    async fn wrap(&self, key: &Key, place: &[u8]) -> Result<WrappedKey> {
        let (key_id, master) = self.present()?;
        Ok(WrappedKey { wrapped: master.wrap(&self.entropy, &place_under(&key_id, place), key), key_id })
    }

    async fn unwrap(&self, id: &KeyId, place: &[u8], wrapped: &[u8]) -> Result<Key> {
        let mut master = self.find(id);
        if master.is_none() {
            // Another replica may be ahead in a rotation: the key may be in the file by now.
            self.read_again()?;
            master = self.find(id);
        }
        let master = master.ok_or_else(|| {
            StoreError::Configuration(format!(
                "the master key {id}, which wrapped the keys of this database, is not among the master keys"
            ))
        })?;
        master.unwrap_key(&place_under(id, place), wrapped)
    }

    async fn reload(&self) -> Result<()> {
        self.read_again()
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.ring.read();
        f.debug_list().entries(ring.iter().map(|(id, _)| id.as_str())).finish()
    }
}

/// The place of a wrapped key binds the id as well: a row that names another key does not open.
fn place_under(id: &KeyId, place: &[u8]) -> Vec<u8> {
    [id.as_str().as_bytes(), b" ", place].concat()
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        StoreError::Configuration(format!("cannot read the master keys of {}: {error}", path.display()))
    })?;
    Ok(Zeroizing::new(text))
}

fn ring(text: &str) -> Result<Vec<(KeyId, Key)>> {
    Ok(master_keys(text)?.into_iter().map(|key| (KeyId::of(&key), key)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn entropy() -> Entropy {
        Entropy::new(StdRng::seed_from_u64(11))
    }

    /// Several keys as text.
    fn texts<const N: usize>() -> [String; N] {
        let entropy = entropy();
        std::array::from_fn(|_| Key::generate(&entropy).to_base64().to_string())
    }

    #[test]
    fn keys_stand_on_lines_or_between_commas_and_the_first_is_the_present_one() {
        let [first, second] = texts();
        for text in [
            format!("{first}\n{second}\n"),
            format!("{first},{second}"),
            format!("\n  {first} \r\n\r\n{second}"),
            format!("{first} , {second},"),
        ] {
            let ids: Vec<_> = master_keys(&text).unwrap().iter().map(KeyId::of).collect();
            assert_eq!(ids, [&first, &second].map(|key| KeyId::of(&Key::from_base64(key).unwrap())), "{text:?}");
        }
        assert_eq!(master_keys(&first).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_without_a_word_of_it() {
        let [key] = texts();
        let many = vec![key.as_str(); MAX_MASTER_KEYS + 1].join("\n");
        for text in ["", " \n,", "c2hvcnQ=", "no base64!", &format!("{key}\nc2hvcnQ="), &many] {
            let problem = master_keys(text).unwrap_err().to_string();
            for word in ["c2hvcnQ", "no base64!", key.as_str()] {
                assert!(!problem.contains(word), "{problem}");
            }
        }
    }

    #[test]
    fn an_id_names_one_key_and_is_no_part_of_it() {
        let [first, second] = texts();
        let [first, second] = [first, second].map(|text| Key::from_base64(&text).unwrap());
        assert_eq!(KeyId::of(&first), KeyId::of(&Key::from_bytes(first.expose()).unwrap()));
        assert_ne!(KeyId::of(&first), KeyId::of(&second));
        let id = KeyId::of(&first);
        assert_eq!(id.as_str().len(), 16);
        for part in first.expose().windows(ID_BYTES) {
            assert_ne!(id.as_str(), format!("{:016x}", u64::from_be_bytes(part.try_into().unwrap())));
        }
    }

    #[tokio::test]
    async fn a_wrapped_key_opens_under_its_own_id_and_in_its_own_place_alone() {
        let [first, second] = texts();
        let keys = LocalKeys::from_text(&format!("{first}\n{second}"), entropy()).unwrap();
        let secret = Key::generate(&entropy());
        let WrappedKey { key_id, wrapped } = keys.wrap(&secret, b"place").await.unwrap();
        assert_eq!(key_id, keys.current_id().await.unwrap());
        assert_eq!(keys.unwrap(&key_id, b"place", &wrapped).await.unwrap().expose(), secret.expose());
        assert!(matches!(keys.unwrap(&key_id, b"elsewhere", &wrapped).await, Err(StoreError::Sealed(_))));
        let other = KeyId::of(&Key::from_base64(&second).unwrap());
        assert!(matches!(keys.unwrap(&other, b"place", &wrapped).await, Err(StoreError::Sealed(_))));
        let unknown = keys.unwrap(&KeyId::new("unknown"), b"place", &wrapped).await;
        assert!(matches!(unknown, Err(StoreError::Configuration(_))));
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_asked_for_and_when_a_key_is_not_known() {
        let [first, second] = texts();
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("master.key");
        std::fs::write(&path, &first).unwrap();
        let behind = LocalKeys::from_file(&path, entropy()).unwrap();
        let old_id = behind.current_id().await.unwrap();
        std::fs::write(&path, format!("{second}\n{first}\n")).unwrap();
        let ahead = LocalKeys::from_file(&path, entropy()).unwrap();
        let secret = Key::generate(&entropy());
        let new = ahead.wrap(&secret, b"place").await.unwrap();
        assert_ne!(new.key_id, old_id);
        assert_eq!(behind.current_id().await.unwrap(), old_id);
        behind.unwrap(&new.key_id, b"place", &new.wrapped).await.unwrap();
        std::fs::write(&path, "not a key").unwrap();
        assert!(ahead.reload().await.is_err());
        assert_eq!(ahead.current_id().await.unwrap(), new.key_id, "a file that is not readable changes nothing");
    }

    #[test]
    fn neither_keys_nor_rings_print_a_key() {
        let [first, second] = texts();
        let keys = LocalKeys::from_text(&format!("{first},{second}"), entropy()).unwrap();
        let printed = format!("{keys:?} {:?}", Key::from_base64(&first).unwrap());
        assert!(!printed.contains(first.trim_end_matches('=')) && !printed.contains(second.trim_end_matches('=')));
    }
}
