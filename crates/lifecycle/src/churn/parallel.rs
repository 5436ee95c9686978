//! The same work on several threads. What comes of it does not depend on how many: each item's result is its own, and
//! results keep the order of their items.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread;

/// What a function makes of each item, by up to so many threads.
pub(super) fn map<T: Sync, R: Send>(threads: NonZeroUsize, items: &[T], function: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(threads.get()).max(1);
    if items.len() <= share {
        return items.iter().map(function).collect();
    }
    let function = &function;
    thread::scope(|scope| {
        let parts = items.chunks(share).map(|part| scope.spawn(move || part.iter().map(function).collect::<Vec<R>>()));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Changes each value in its place, by up to so many threads. The function gets the value's place, too.
pub(super) fn change<T: Send>(threads: NonZeroUsize, values: &mut [T], function: impl Fn(usize, &mut T) + Sync) {
    let share = values.len().div_ceil(threads.get()).max(1);
    let (function, each) =
        (&function, |(part, values): (usize, &mut [T]), function: &(dyn Fn(usize, &mut T) + Sync)| {
            values.iter_mut().enumerate().for_each(|(place, value)| function(part * share + place, value));
        });
    if values.len() <= share {
        each((0, values), function);
        return;
    }
    thread::scope(|scope| {
        for part in values.chunks_mut(share).enumerate() {
            scope.spawn(move || each(part, function));
        }
    });
}
