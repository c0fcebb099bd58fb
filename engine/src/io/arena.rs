//! Memory that the kernel reads or writes while an operation is in flight: allocated once, never moved, and
//! when operations are still in flight at the end, never freed.

use std::cell::UnsafeCell;

/// A fixed number of `T`s at fixed addresses.
pub(super) struct Arena<T: 'static> {
    items: &'static [UnsafeCell<T>],
    abandoned: bool,
}

impl<T> Arena<T> {
    pub(super) fn new(count: usize, mut make: impl FnMut() -> T) -> Self {
        let items: Box<[UnsafeCell<T>]> = (0..count).map(|_| UnsafeCell::new(make())).collect();
        Arena {
            items: Box::leak(items),
            abandoned: false,
        }
    }

    /// The address of an item: valid until the arena is dropped, for ever once it was abandoned. Whoever
    /// follows it while an operation on that item is in flight races with the kernel.
    pub(super) fn at(&self, index: usize) -> *mut T {
        self.items[index].get()
    }

    /// Leaves the memory to the end of the process: the kernel may still use it.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl<T> Drop for Arena<T> {
    fn drop(&mut self) {
        if !self.abandoned {
            let items = std::ptr::from_ref(self.items).cast_mut();
            // SAFETY: the slice came from `Box::leak` in `new`, nothing else frees it, and its owner
            // abandons the arena when an operation may still point into it.
            drop(unsafe { Box::from_raw(items) });
        }
    }
}
