//! What a population keeps of a block of customers, so that a load need not read their records.

use super::Population;
use crate::engine::{BLOCK_CUSTOMERS, Block, EngineError, block_of};
use prost::Message;
use quintile_expr::Type;
use quintile_rpc::policy::Tenant;

/// What columns make of records: to be changed where a record comes to have other values in columns that are there already.
const LAYOUT: u32 = 1;

/// A block of customers as it is kept.
#[derive(Clone, PartialEq, Message)]
pub struct KeptBlock {
    #[prost(message, optional, tag = "1")]
    block: Option<Block>,
    /// Of which own fields the block has columns.
    #[prost(message, repeated, tag = "2")]
    own: Vec<KeptField>,
    #[prost(message, repeated, tag = "3")]
    merges: Vec<KeptMerge>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct KeptField {
    #[prost(string, tag = "1")]
    source: String,
    /// The type, by its name.
    #[prost(string, tag = "2")]
    ty: String,
}

impl KeptField {
    fn new(source: String, ty: Type) -> Self {
        Self { source, ty: format!("{ty:?}") }
    }
}

/// Who was merged into a customer.
#[derive(Clone, PartialEq, Eq, Message)]
struct KeptMerge {
    #[prost(uint32, tag = "1")]
    customer: u32,
    #[prost(uint32, repeated, tag = "2")]
    merged: Vec<u32>,
}

/// What a kept block must have been made by to be of use: the release, and what of the tenant its columns were made with.
pub fn layout(tenant: &Tenant) -> String {
    let (zone, currency) = (tenant.zone.name(), tenant.currency.code());
    format!("{} {LAYOUT} {zone} {currency}", env!("CARGO_PKG_VERSION"))
}

impl Population {
    /// How many customers of a block there are.
    pub fn customers_of(&self, block: u32) -> u32 {
        let words = self.engine.present().words().iter();
        let words = words.skip(block as usize * BLOCK_CUSTOMERS as usize / 64).take(BLOCK_CUSTOMERS as usize / 64);
        words.map(|word| word.count_ones()).sum()
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.engine.present().words().len() * 64).unwrap_or(u32::MAX).div_ceil(BLOCK_CUSTOMERS)
    }

    /// A block as it is kept.
    pub fn kept(&self, block: u32) -> KeptBlock {
        let field = |field: &crate::own_fields::OwnField| KeptField::new(field.source.to_text(), field.ty);
        let before = (block * BLOCK_CUSTOMERS).saturating_sub(1);
        let customers = self.engine.present().iter_from(before).take_while(|customer| block_of(*customer) == block);
        let merges = customers.map(|customer| (customer, self.merges.of(customer)));
        let merges = merges.filter(|(_, merged)| !merged.is_empty());
        KeptBlock {
            block: Some(self.engine.block(block)),
            own: self.own_fields.iter().map(field).collect(),
            merges: merges.map(|(customer, merged)| KeptMerge { customer, merged: merged.to_vec() }).collect(),
        }
    }

    /// Puts a block back of which nobody is there.
    ///
    /// # Errors
    /// [`EngineError::Block`], and nothing is changed.
    pub fn put_kept(&mut self, number: u32, kept: KeptBlock) -> Result<(), EngineError> {
        let Some(block) = &kept.block else { return Err(EngineError::Block(number)) };
        let known: Vec<_> =
            self.own_fields.iter().map(|field| KeptField::new(field.source.to_text(), field.ty)).collect();
        let own: Vec<_> = kept.own.iter().map(|field| known.iter().position(|known| known == field)).collect();
        self.engine.put_block(number, block, &own)?;
        for KeptMerge { customer, merged } in kept.merges {
            self.merges.set(customer, merged);
        }
        Ok(())
    }
}
