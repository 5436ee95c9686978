//! Customers by the block: those whose numbers share all but their last 16 bits, as one compressed bitmap. An erasure rewrites one block.

use crate::engine::Bitmap;
use quintile_store::StoreError;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// Numbers of a block.
pub const CUSTOMERS: u32 = 1 << 16;

/// The block of a customer.
pub const fn of(customer_id: u32) -> u32 {
    customer_id / CUSTOMERS
}

/// Customers by block, each as a bitmap of their places in it.
pub fn encode(customers: &Bitmap) -> BTreeMap<u32, RoaringBitmap> {
    let mut blocks: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
    for customer in customers {
        blocks.entry(of(customer)).or_default().insert(customer % CUSTOMERS);
    }
    blocks
}

/// The bytes of a block.
pub fn to_bytes(block: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block.serialized_size());
    // Writing into memory does not fail.
    let _ = block.serialize_into(&mut bytes);
    bytes
}

/// A block of its bytes.
///
/// # Errors
/// [`StoreError::Sealed`] where they are none.
pub fn from_bytes(bytes: &[u8]) -> Result<RoaringBitmap, StoreError> {
    RoaringBitmap::deserialize_from(bytes).map_err(|_| StoreError::Sealed("block of customers"))
}
