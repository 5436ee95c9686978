//! Sealing, for any value and any place.

use futures::executor::block_on;
use proptest::prelude::*;
use quintile_domain::entropy::Entropy;
use quintile_domain::ids::TenantId;
use quintile_store::sealing::{Key, KeyEncryption, KeyId, LocalKeys, TokenSealer, WrappedKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn entropy(seed: u64) -> Entropy {
    Entropy::new(StdRng::seed_from_u64(seed))
}

proptest! {
    #[test]
    fn any_value_opens_in_its_own_place_and_in_no_other(
        seed: u64,
        value: Vec<u8>,
        place: Vec<u8>,
        other: Vec<u8>,
    ) {
        let entropy = entropy(seed);
        let key = Key::generate(&entropy);
        let sealed = key.seal(&entropy, &place, &value);
        let opened = key.open(&place, &sealed).unwrap().to_vec();
        prop_assert_eq!(&opened, &value);
        prop_assert_eq!(key.open(&other, &sealed).is_ok(), other == place);
        prop_assert!(Key::generate(&entropy).open(&place, &sealed).is_err());
        prop_assert_ne!(key.seal(&entropy, &place, &value), sealed, "equal values do not look equal");
    }

    #[test]
    fn what_is_cut_or_longer_or_made_up_does_not_open(seed: u64, value: Vec<u8>, cut: prop::sample::Index, made_up: Vec<u8>) {
        let entropy = entropy(seed);
        let key = Key::generate(&entropy);
        let sealed = key.seal(&entropy, b"place", &value);
        prop_assert!(key.open(b"place", &sealed[..cut.index(sealed.len())]).is_err());
        prop_assert!(key.open(b"place", &[sealed.as_slice(), &[0]].concat()).is_err());
        prop_assert!(key.open(b"place", &made_up).is_err());
    }

    #[test]
    fn a_key_that_was_wrapped_or_spelled_is_the_same_key(seed: u64, value: Vec<u8>) {
        let entropy = entropy(seed);
        let (master, key) = (Key::generate(&entropy), Key::generate(&entropy));
        let unwrapped = master.unwrap_key(b"tenant", &master.wrap(&entropy, b"tenant", &key)).unwrap();
        let spelled = Key::from_base64(&format!(" {}\n", key.to_base64().as_str())).unwrap();
        prop_assert_eq!(unwrapped.hash(&value), key.hash(&value));
        prop_assert_eq!(spelled.hash(&value), key.hash(&value));
        prop_assert_ne!(master.hash(&value), key.hash(&value));
    }

    #[test]
    fn a_token_opens_for_its_own_tenant_and_query_alone(
        seed: u64,
        tenant: i32,
        other_tenant: i32,
        query: Vec<u8>,
        other_query: Vec<u8>,
        value: Vec<u8>,
    ) {
        let entropy = entropy(seed);
        let sealer = TokenSealer::new(Key::generate(&entropy), entropy);
        let token = sealer.seal(TenantId(tenant), &query, &value);
        prop_assert_eq!(sealer.open(TenantId(tenant), &query, &token).unwrap(), value);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(sealer.open(TenantId(other_tenant), &query, &token).is_ok(), other_tenant == tenant);
        prop_assert_eq!(sealer.open(TenantId(tenant), &other_query, &token).is_ok(), other_query == query);
    }
}

proptest! {
    #[test]
    fn a_key_that_a_master_key_wrapped_opens_under_that_one_and_in_its_own_place_alone(
        seed: u64,
        place: Vec<u8>,
        other_place: Vec<u8>,
        changed: prop::sample::Index,
    ) {
        let entropy = entropy(seed);
        let texts = [(); 2].map(|()| Key::generate(&entropy).to_base64().to_string());
        let both = LocalKeys::from_text(&texts.join(","), entropy.clone()).unwrap();
        let [first, second] = texts.map(|text| LocalKeys::from_text(&text, entropy.clone()).unwrap());
        let key = Key::generate(&entropy);
        let WrappedKey { key_id, wrapped } = block_on(first.wrap(&key, &place)).unwrap();
        for ring in [&first, &both] {
            let opened = block_on(ring.unwrap(&key_id, &place, &wrapped)).unwrap();
            prop_assert_eq!(opened.expose(), key.expose());
            prop_assert_eq!(block_on(ring.unwrap(&key_id, &other_place, &wrapped)).is_ok(), place == other_place);
        }
        prop_assert!(block_on(second.unwrap(&key_id, &place, &wrapped)).is_err());
        prop_assert!(block_on(both.unwrap(&KeyId::new(""), &place, &wrapped)).is_err());
        let mut other = wrapped.clone();
        other[changed.index(wrapped.len())] ^= 1;
        prop_assert!(block_on(first.unwrap(&key_id, &place, &other)).is_err());
    }
}
