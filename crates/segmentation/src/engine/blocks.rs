//! The columns of some customers as bytes, from which the same columns come again without a record being read.

use super::bitmap::WORD_BITS;
use super::codes::{MISSING, TextColumn};
use super::numbers::NumberColumn;
use super::{Column, Engine, EngineError, MAX_CUSTOMER_ID};
use prost::Message;

/// Customers of a block: those whose numbers share all but their last 14 bits.
pub const BLOCK_CUSTOMERS: u32 = 1 << 14;
const BLOCK_WORDS: usize = BLOCK_CUSTOMERS as usize / WORD_BITS;

/// The block of a customer.
pub const fn block_of(customer_id: u32) -> u32 {
    customer_id / BLOCK_CUSTOMERS
}

/// What the customers of a block have.
#[derive(Clone, PartialEq, Message)]
pub struct Block {
    /// The customers there are, a bit for each number of the block.
    #[prost(fixed64, repeated, tag = "1")]
    pub present: Vec<u64>,
    /// The built-in fields, by id from 1.
    #[prost(message, repeated, tag = "2")]
    pub columns: Vec<BlockColumn>,
    /// The tenant's own fields, in their order.
    #[prost(message, repeated, tag = "3")]
    pub own: Vec<BlockColumn>,
}

/// What the customers of a block have in a field.
#[derive(Clone, PartialEq, Message)]
pub struct BlockColumn {
    /// Those who have a value, a bit for each number of the block.
    #[prost(fixed64, repeated, tag = "1")]
    pub valid: Vec<u64>,
    /// The value of each of these, in their order: the number, or the place of the text in `texts`.
    #[prost(sint64, repeated, tag = "2")]
    pub values: Vec<i64>,
    /// The texts. Empty: the field is of numbers.
    #[prost(string, repeated, tag = "3")]
    pub texts: Vec<String>,
}

impl Engine {
    /// What the customers of a block have now.
    pub fn block(&self, block: u32) -> Block {
        let first = block as usize * BLOCK_WORDS;
        let column = |column: &Column| column.block(first);
        Block {
            present: words(self.present.words(), first),
            columns: self.columns.iter().map(column).collect(),
            own: self.own.iter().map(|(_, own)| column(own)).collect(),
        }
    }

    /// Puts a block back of which nobody is there. `own` tells for each own field of the block which one it is here; `None`: none any more.
    ///
    /// # Errors
    /// [`EngineError::Block`], and nothing is changed, where it is none of this engine's.
    pub fn put_block(&mut self, block: u32, content: &Block, own: &[Option<usize>]) -> Result<(), EngineError> {
        let fits = content.columns.len() == self.columns.len()
            && content.own.len() == own.len()
            && content.present.len() == BLOCK_WORDS
            && block <= block_of(MAX_CUSTOMER_ID)
            && content.columns.iter().chain(&content.own).all(BlockColumn::fits);
        if !fits {
            return Err(EngineError::Block(block));
        }
        let first = block as usize * BLOCK_WORDS;
        self.lengthen(first + BLOCK_WORDS);
        for (column, values) in self.columns.iter_mut().zip(&content.columns) {
            column.put_block(first, values);
        }
        for (values, index) in content.own.iter().zip(own) {
            if let Some((_, column)) = index.and_then(|index| self.own.get_mut(index)) {
                column.put_block(first, values);
            }
        }
        each(&content.present, first, |customer| self.population += u64::from(self.present.set(customer)));
        Ok(())
    }
}

impl BlockColumn {
    /// Whether it has a value for each that it says has one, and a text for each of these.
    fn fits(&self) -> bool {
        let values = self.valid.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let is_text = |value: &i64| usize::try_from(*value).is_ok_and(|place| place < self.texts.len());
        self.valid.len() == BLOCK_WORDS
            && self.values.len() == values
            && (self.texts.is_empty() || self.values.iter().all(is_text))
    }
}

impl Column {
    /// What the customers of the block have whose first word is this.
    fn block(&self, first: usize) -> BlockColumn {
        let (valid, value): (_, Box<dyn Fn(u32) -> i64 + '_>) = match self {
            Self::Score(column) => (column.codes().valid(), Box::new(|id| column.value(id).unwrap_or_default())),
            Self::Number(column) => (column.valid(), Box::new(|id| column.value(id).unwrap_or_default())),
            Self::Text(column) => return text_block(column, first),
        };
        let valid = words(valid, first);
        let mut values = Vec::with_capacity(BLOCK_CUSTOMERS as usize);
        each(&valid, first, |customer| values.push(value(customer)));
        BlockColumn { valid, values, texts: Vec::new() }
    }

    fn put_block(&mut self, first: usize, block: &BlockColumn) {
        let mut values = block.values.iter();
        let mut next = || values.next().copied().unwrap_or_default();
        match self {
            Self::Number(column) => put_numbers(column, first, &block.valid, next),
            Self::Score(column) => each(&block.valid, first, |id| column.set(id, u8::try_from(next()).ok())),
            Self::Text(column) => {
                let codes: Vec<u32> = block.texts.iter().map(|text| column.code_for(text)).collect();
                each(&block.valid, first, |id| {
                    let code = usize::try_from(next()).ok().and_then(|place| codes.get(place));
                    column.set_code(id, code.copied().unwrap_or(MISSING));
                });
            }
        }
    }
}

fn put_numbers(column: &mut NumberColumn, first: usize, valid: &[u64], mut next: impl FnMut() -> i64) {
    each(valid, first, |customer| column.set(customer, Some(next())));
}

/// Texts are told once each, in the order in which they come.
fn text_block(column: &TextColumn, first: usize) -> BlockColumn {
    let valid = words(column.codes().valid(), first);
    let mut place_of = vec![None; column.codes().code_count()];
    let (mut values, mut texts) = (Vec::with_capacity(BLOCK_CUSTOMERS as usize), Vec::new());
    each(&valid, first, |customer| {
        let code = column.codes().code(customer);
        let place = place_of[code as usize].get_or_insert_with(|| {
            texts.push(column.text(code).to_owned());
            texts.len() as i64 - 1
        });
        values.push(*place);
    });
    BlockColumn { valid, values, texts }
}

/// The words of the block whose first word is this.
fn words(all: &[u64], first: usize) -> Vec<u64> {
    let mut words: Vec<u64> = all.iter().skip(first).take(BLOCK_WORDS).copied().collect();
    words.resize(BLOCK_WORDS, 0);
    words
}

/// Goes through the customers of the words of a block, ascending.
fn each(words: &[u64], first: usize, mut visit: impl FnMut(u32)) {
    for (word, bits) in words.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            visit(((first + word) * WORD_BITS) as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Customer;
    use crate::engine::differential::{OWN_FIELDS, Owned};
    use crate::fields::FieldId;
    use crate::own_fields::FIRST_ID;
    use proptest::prelude::*;
    use quintile_expr::Row;

    fn engine() -> Engine {
        let mut engine = Engine::new();
        for (_, ty) in OWN_FIELDS {
            engine.add_field(ty);
        }
        engine
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_put_back_is_what_there_was(
            customers in prop::collection::btree_map(1..2 * BLOCK_CUSTOMERS, any::<u64>(), 0..60),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut before = engine();
            for (id, seed) in &customers {
                before.apply(*id, Some(&Owned::new(*seed).customer())).unwrap();
            }
            for index in removed.iter().filter(|_| !customers.is_empty()) {
                before.apply(*customers.keys().nth(index.index(customers.len())).unwrap(), None).unwrap();
            }
            let own: Vec<_> = (0..OWN_FIELDS.len()).map(Some).collect();
            let mut after = engine();
            for number in [1, 0] {
                let bytes = before.block(number).encode_to_vec();
                after.put_block(number, &Block::decode(bytes.as_slice()).unwrap(), &own).unwrap();
            }
            after.rebalance();
            prop_assert_eq!(after.present(), before.present());
            prop_assert_eq!(after.population(), before.population());
            let own = (FIRST_ID..).take(OWN_FIELDS.len());
            let ids: Vec<u16> = FieldId::all().map(FieldId::id).chain(own).collect();
            let none = |_: &str| None;
            for customer in before.present() {
                let (was, is) = (before.row(customer, &none).unwrap(), after.row(customer, &none).unwrap());
                for field in &ids {
                    prop_assert_eq!(is.value(*field), was.value(*field), "field {}", field);
                }
            }
        }
    }

    #[test]
    fn an_own_field_that_is_no_more_is_left_out() {
        let mut before = engine();
        let owned = Owned::new(3);
        before.apply(7, Some(&owned.customer())).unwrap();
        let mut after = Engine::new();
        after.put_block(0, &before.block(0), &vec![None; OWN_FIELDS.len()]).unwrap();
        assert_eq!(after.present(), before.present());
        assert_eq!(after.row(7, &|_| None).unwrap().value(FIRST_ID), None);
    }

    #[test]
    fn a_block_that_does_not_fit_changes_nothing() {
        let mut before = Engine::new();
        before.apply(5, Some(&Customer { channel: "online", orders: 3, ..Customer::default() })).unwrap();
        let block = before.block(0);
        let mut broken = vec![Block { present: vec![1], ..block.clone() }];
        broken.push(Block { columns: block.columns[1..].to_vec(), ..block.clone() });
        broken.push(Block { own: vec![BlockColumn::default()], ..block.clone() });
        for (index, column) in block.columns.iter().enumerate().filter(|(_, column)| !column.values.is_empty()) {
            let with = |column| {
                let mut columns = block.columns.clone();
                columns[index] = column;
                Block { columns, ..block.clone() }
            };
            broken.push(with(BlockColumn { values: Vec::new(), ..column.clone() }));
            broken.push(with(BlockColumn { valid: Vec::new(), values: Vec::new(), ..column.clone() }));
            broken.push(with(BlockColumn { texts: vec![String::new(); 1], values: vec![1], ..column.clone() }));
        }
        assert!(broken.len() > 6);
        let mut engine = Engine::new();
        for block in broken {
            assert_eq!(engine.put_block(0, &block, &[]), Err(EngineError::Block(0)));
        }
        assert_eq!(engine.put_block(MAX_CUSTOMER_ID, &block, &[]), Err(EngineError::Block(MAX_CUSTOMER_ID)));
        assert_eq!((engine.population(), engine.memory_bytes()), (0, Engine::new().memory_bytes()));
    }
}
